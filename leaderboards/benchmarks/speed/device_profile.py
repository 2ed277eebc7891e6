"""From a detector to its device file: export it once in float and INT8, time cuts of it, fit what predicts them."""

import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx

from evaluators.data.images import Images
from evaluators.devices.device_file import DeviceFile, Rates
from evaluators.devices.network_timer import NetworkTimer, Timings, parent_ms, times_ms
from evaluators.devices.predictor import Fit, Geometry, fit_latency
from evaluators.latency.machine import this_machine
from evaluators.latency.sentinel import drift
from evaluators.latency.turns import Comparison
from evaluators.runtimes.onnx_export import export_int8, export_onnx
from leaderboards.runs.problem import Problem
from spaces.space import Keep

THREADS = 1  # as the rows of a leaderboard are timed


@dataclass(frozen=True, eq=False)
class Profile:
    """A device file and the fits that it came from."""

    device: DeviceFile
    fp32: Fit
    int8: Fit


def make_timer(problem: Problem, calibration: Images, /) -> NetworkTimer:
    """Return what times the sub-networks of the parent; `calibration` sets its INT8 ranges."""
    with tempfile.TemporaryDirectory() as folder:
        path = export_onnx(problem.inputs.parent, Path(folder) / "parent.onnx", imgsz=calibration.imgsz)
        batches = [batch.numpy() for batch in calibration.batches(16)]
        int8 = export_int8(path, Path(folder) / "parent_int8.onnx", batches)
        models = (onnx.load(path), onnx.load(int8))
    return NetworkTimer(*models, graph=problem.graph, space=problem.space, threads=THREADS)


def fit_profile(problem: Problem, timings: Timings, /, *, imgsz: int) -> Profile:
    """Return the device file of this machine that `timings` of sub-networks give."""
    fits = [_fit(problem, timings.keep, each) for each in (timings.fp32, timings.int8)]
    device = DeviceFile(
        machine=this_machine(),
        threads=THREADS,
        cpus=timings.cpus,
        parent=problem.inputs.fingerprint,
        imgsz=imgsz,
        blocks=tuple((block.name, block.size) for block in problem.graph.blocks),
        n_networks=len(timings.keep),
        minutes=timings.seconds / 60,
        drift=drift(timings.sentinel_ms),
        fp32=_rates(fits[0], timings.fp32),
        int8=_rates(fits[1], timings.int8),
    )
    return Profile(device, *fits)


def _fit(problem: Problem, keep: Keep, comparisons: tuple[Comparison, ...]) -> Fit:
    """Return the fit to the networks and to the parent, whose ratio to itself is known."""
    own = parent_ms(comparisons)
    networks = np.vstack([keep, problem.space.decode(problem.space.parent)])
    return fit_latency(Geometry.of(problem.graph), networks, np.append(times_ms(comparisons, own), own))


def _rates(fit: Fit, comparisons: tuple[Comparison, ...]) -> Rates:
    return Rates(
        blocks=fit.predictor.blocks, rates=tuple(fit.predictor.rates.tolist()), parent_ms=parent_ms(comparisons)
    )
