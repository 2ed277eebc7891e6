"""What a worker process does in a search: it builds candidates and measures them."""

import copy
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path

import torch
from ultralytics.nn.tasks import DetectionModel

from evaluators.budget import Budget
from evaluators.data.dataset import Sample
from evaluators.data.images import Images, load_images
from evaluators.devices.device_file import DeviceFile
from evaluators.latency.timing import measure_latency
from evaluators.measure import Evaluator, GatedMeasure
from evaluators.metric import MAP
from evaluators.proxies.recovered import evaluator_of
from evaluators.result import Measure
from evaluators.runtimes.onnx_export import export_onnx
from spaces.bases.base import Base
from spaces.bases.names import SAME
from spaces.build import Builder, Subnet
from spaces.candidate import Candidate
from spaces.networks.compute_dtype import ComputeDtype
from spaces.recovery.recovery import Recovery
from spaces.study import Study

N_BUILDERS = 8  # that a worker keeps, one for each base, with its calibration images and what its parent makes of them


@dataclass(frozen=True, eq=False)
class Studied:
    """A base and what is known of it.

    Attributes:
        calibration: images of train, for BatchNorm, reconstruction and INT8 ranges.
    """

    base: Base
    calibration: Images
    study: Study

    def builder(self, device: str, *, precision: ComputeDtype = ComputeDtype.FLOAT32) -> Builder:
        """Return what makes a network of a candidate, on `device`."""
        network = copy.deepcopy(self.base.network).to(device)
        images = self.calibration.tensor().to(device)
        return Builder(network, self.base.graph, self.base.space, images=images, study=self.study, precision=precision)


@dataclass(frozen=True, eq=False)
class Supernets:
    """Everything a worker needs to build candidates; it travels to each worker once.

    Attributes:
        parent: the user's own network, which teaches all others.
        bases: by name.
        precision: of the passes that rank candidates without bits; those with bits, and rows, are measured in float32.
        device: what predicts latencies; without it a limited latency is measured.
    """

    parent: DetectionModel
    bases: Mapping[str, Studied]
    recovery: Recovery
    precision: ComputeDtype = ComputeDtype.FLOAT32
    device: DeviceFile | None = None

    @property
    def same(self) -> Studied:
        """The user's own network."""
        return self.bases[SAME]

    def of(self, candidate: Candidate, /) -> Studied:
        """Return the base that `candidate` is cut from."""
        return self.bases[candidate.base]

    def builder(self, base: str, device: str, /) -> Builder:
        """Return what makes the candidates of `base` that are only ranked; coarse products would add to their bits'."""
        studied = self.bases[base]
        is_float = studied.base.table is None
        return studied.builder(device, precision=self.precision if is_float else ComputeDtype.FLOAT32)

    def costs(self, candidate: Candidate, /) -> dict[str, float]:
        """Return the arithmetic costs of `candidate`."""
        return self.of(candidate).base.costs(candidate)


def make_measure(
    supernets: Supernets,
    search: Sequence[Sample],
    budget: Budget,
    /,
    *,
    device: str,
    proxy: str = MAP.name,
    fidelities: Mapping[int, str] | None = None,
) -> Measure:
    """Return what measures candidates in one worker: the proxy on the hold-out, latency if it is limited.

    One thread, whatever the machine has: the readings then do not depend on how many workers share it.

    Args:
        search: the hold-out; it is decoded for each image size that a candidate asks for.
        fidelities: proxies of a ladder by the number that their jobs have; they know no budget.
    """
    torch.set_num_threads(1)

    @lru_cache(maxsize=N_BUILDERS)
    def builder(base: str) -> Builder:
        return supernets.builder(base, device)

    evaluator = _on_images(search, supernets)

    def measure_by(name: str, limits: Budget, checked: tuple[Evaluator, ...]) -> GatedMeasure:
        return GatedMeasure(
            supernets.costs,
            lambda candidate: Subnet(candidate, builder(candidate.base)),
            budget=limits,
            gates=checked,
            evaluators=(evaluator(name),),
        )

    by_fidelity = {number: measure_by(name, Budget({}), ()) for number, name in (fidelities or {}).items()}
    return by_number(measure_by(proxy, budget, _gates(supernets, budget)), by_fidelity)


def _gates(supernets: Supernets, budget: Budget) -> tuple[Evaluator, ...]:
    """Return what judges latencies before anything dearer is measured: predicted if they can be, else timed."""
    if supernets.device is not None:
        return (_predicted_latency(supernets.same.base, supernets.device),)
    return (_onnx_latency(supernets),) if "latency_ms" in budget.limits else ()


def _on_images(search: Sequence[Sample], supernets: Supernets) -> Callable[[str], Evaluator]:
    """Return what gives the evaluator of a proxy, which looks at `search` in the size that each candidate asks for."""

    @cache
    def images(imgsz: int) -> Images:
        return load_images(search, imgsz=imgsz)

    @cache
    def sized(proxy: str, imgsz: int) -> Evaluator:
        return evaluator_of(proxy, images(imgsz), supernets.recovery)

    return lambda proxy: lambda subnet: sized(proxy, supernets.of(subnet.candidate).base.imgsz)(subnet)


def _predicted_latency(base: Base, device: DeviceFile) -> Evaluator:
    """Return the evaluator of the latencies that `device` predicts, which builds nothing."""
    predict_latency = device.latency(base.space, base.graph)
    return lambda subnet: predict_latency([subnet.candidate])[0]


def _onnx_latency(supernets: Supernets) -> Evaluator:
    """Return the evaluator of the median ONNX Runtime latency on one thread."""

    def evaluate(subnet: Subnet) -> dict[str, float]:
        imgsz = supernets.of(subnet.candidate).base.imgsz
        with tempfile.TemporaryDirectory() as folder:
            network = subnet.builder.float_network(subnet.candidate, Recovery.NOTHING)
            path = export_onnx(network, Path(folder) / "candidate.onnx", imgsz=imgsz)
            return {"latency_ms": measure_latency(path, threads=1, max_seconds=0.5).median_ms}

    return evaluate


def by_number(measure: Measure, fidelities: Mapping[int, Measure], /) -> Measure:
    """Return what measures jobs of a fidelity by `fidelities`, by their number, and all others by `measure`."""
    return lambda job: fidelities.get(job.number, measure)(job)
