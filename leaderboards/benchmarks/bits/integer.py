"""What does a detector find that computes in integers alone, and is each of its sums the one that was simulated?

The allocations of bits that are asked for, without training: simulated in float32 as `bench quantization` does, in
integers that are rescaled by whole-numbered multipliers, and in integers whose scales are all powers of two, so that
a shift is enough. mAP is that of val; the sums are compared on its first images.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, fields
from functools import partial

from torch import Tensor, nn
from ultralytics.nn.tasks import DetectionModel

from evaluators.accuracy.detection import Predictions, batch_of, coco_map, detections, predict
from evaluators.data.images import Images, load_images
from leaderboards.benchmarks.arguments import command, parts_of, read_count
from leaderboards.benchmarks.record import Cell, Record
from leaderboards.environment import environment
from leaderboards.recipes.keys import EMBEDDED
from leaderboards.runs.bases import calibration_images
from leaderboards.runs.prepare import prepare
from spaces.bits.layer_bits import LayerBits
from spaces.bits.simulation import Simulator
from spaces.integers.integer_detector import Agreement, IntegerDetector
from spaces.networks.threads import one_thread

UNIFORM = (LayerBits(8, 8), LayerBits(4, 8), LayerBits(4, 4))
DIFFERING = ("n_sums_differing", "n_drifted")
ARITHMETIC = {"multipliers": False, "powers of two": True}  # whether all scales are powers of two


def integer(*, data: str = EMBEDDED, n: str = "4") -> Record:
    """Return how many accumulators of the integer-only path differ from their simulation, all allocations together.

    Args:
        data: digits, or bccd or coco128 where REAL_DATA leads to them.
        n: images of val whose accumulators are compared.
    """
    n_compared, parts = read_count("n", n, least=1), parts_of(data)
    problem = prepare(parts)
    val = load_images(problem.inputs.dataset.val, imgsz=parts.bases.imgsz)
    calibration = calibration_images(
        problem.inputs.holdout, parts.making.calibration_images, seed=parts.making.seed, imgsz=parts.bases.imgsz
    ).tensor()
    with one_thread():
        simulator = Simulator(problem.inputs.parent, calibration)
        compared = val.tensor()[:n_compared]
        rows = list(_rows(simulator, calibration, val=val, compared=compared))
    differing = sum(count for row in rows for name in DIFFERING if isinstance(count := row[name], float))
    return Record(
        f"integer_{data}",
        f"accumulators that differ from their simulation, {n_compared} images, {data}",
        differing,
        "0",
        differing == 0,
        rows,
        environment(),
        command("integer", data, f"n={n_compared}"),
    )


def _rows(simulator: Simulator, calibration: Tensor, *, val: Images, compared: Tensor) -> Iterator[dict[str, Cell]]:
    """Yield a row for each way to compute each allocation, the float one first."""
    yield _row("FP32", "float32", val, partial(_simulated, simulator({})))
    for bits in UNIFORM:
        network = simulator(dict.fromkeys(simulator.layers, bits))
        yield _row(str(bits), "simulated", val, partial(_simulated, network))
        for name, is_power_of_two in ARITHMETIC.items():
            detector = IntegerDetector(network, calibration, is_power_of_two=is_power_of_two)
            row = _row(str(bits), f"integers, {name}", val, partial(_in_integers, detector))
            yield row | {name: float(count) for name, count in asdict(detector.agreement(compared)).items()}


def _row(bits: str, arithmetic: str, val: Images, find: Callable[[Images], Predictions]) -> dict[str, Cell]:
    started = time.perf_counter()
    quality = coco_map(find(val), val)
    seconds = time.perf_counter() - started
    counts = dict.fromkeys((field.name for field in fields(Agreement)), "-")
    return {"bits": bits, "arithmetic": arithmetic, "map50_95": quality.map50_95, "seconds": seconds, **counts}


def _simulated(network: nn.Module, images: Images) -> Predictions:
    assert isinstance(network, DetectionModel)
    return predict(network, images)


def _in_integers(detector: IntegerDetector, images: Images) -> Predictions:
    parts = images.parts(batch_of(images))
    return tuple(found for part in parts for found in detections(detector(part.tensor())[0], part))
