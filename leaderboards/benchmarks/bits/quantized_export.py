"""Does a file of few bits find what its simulation does, how large is it, and does anything run faster for it?

Uniform bits and one mixed allocation, after training nothing: simulated by torch and exported, both measured on val;
the exported file and the float one are timed after each other.
"""

import tempfile
from pathlib import Path

import numpy as np
from torch import nn
from ultralytics.nn.tasks import DetectionModel

from evaluators.accuracy.detection import coco_map, detections, predict
from evaluators.data.images import Images, load_images
from evaluators.latency.timing import measure_latency
from evaluators.runtimes.onnx_bits import export_quantized
from evaluators.runtimes.onnx_export import export_onnx
from evaluators.runtimes.onnx_runtime import OnnxDetector
from leaderboards.benchmarks.arguments import command, parts_of, read_count
from leaderboards.benchmarks.record import Cell, Record
from leaderboards.environment import environment
from leaderboards.recipes.keys import EMBEDDED
from leaderboards.runs.bases import calibration_images
from leaderboards.runs.prepare import prepare
from spaces.bases.names import SAME
from spaces.bits.allocation import allocate
from spaces.bits.layer_bits import Allocation, BitTable, LayerBits, cross_bits
from spaces.bits.quantized import plain
from spaces.bits.sensitivity import fisher
from spaces.bits.simulation import Simulator
from spaces.networks.threads import one_thread

UNIFORM = (LayerBits(8, 8), LayerBits(6, 8), LayerBits(4, 8), LayerBits(4, 4), LayerBits(3, 3))
MATCHED = LayerBits(4, 8)  # whose size the mixed allocation keeps to
WEIGHTS, ACTIVATIONS = (2, 3, 4, 6, 8), (8,)  # that it mixes
TARGET = 0.01
BATCH = 16


def quantized_export(*, data: str = EMBEDDED, images: str = "64") -> Record:
    """Return by how much mAP50-95 of an exported file differs from that of its simulation, the most of all.

    Args:
        data: digits, or bccd or coco128 where REAL_DATA leads to them.
        images: for calibration.
    """
    parts = parts_of(data, f"calibration_images={read_count('images', images, least=8)}")
    problem = prepare(parts)
    val = load_images(problem.inputs.dataset.val, imgsz=parts.bases.imgsz)
    calibration = calibration_images(
        problem.inputs.holdout, parts.making.calibration_images, seed=parts.making.seed, imgsz=parts.bases.imgsz
    )
    simulator = Simulator(problem.inputs.parent, calibration.tensor())
    table = BitTable(problem.bases[SAME].graph, cross_bits(WEIGHTS, ACTIVATIONS))
    settings: dict[str, Allocation] = {str(bits): table.uniform(bits) for bits in UNIFORM}
    with one_thread():
        settings[f"mixed at the size of {MATCHED}"] = _mixed(simulator, table, calibration, seed=parts.ranking.seed)
        rows = [{"bits": name, **_row(simulator(bits), calibration, val)} for name, bits in settings.items()]
    worst = max(abs(float(row["exported"]) - float(row["simulated"])) for row in rows)
    return Record(
        f"quantized_export_{data}",
        f"mAP50-95 of the exported file less that of its simulation, the furthest from 0 of {len(rows)} allocations",
        worst,
        f"at most {TARGET}",
        worst <= TARGET,
        rows,
        environment(),
        command("quantized_export", data, f"images={images}"),
    )


def _mixed(simulator: Simulator, table: BitTable, calibration: Images, *, seed: int) -> Allocation:
    """Return the allocation that Fisher information calls cheapest in no more bytes than `MATCHED` takes."""
    room = table.costs(table.uniform(MATCHED))["size_mb"] - table.fixed()["size_mb"]
    costs = fisher(simulator, table, calibration.tensor(), seed=seed)
    return table.allocation(allocate(costs, table.tables()["size_mb"][None], np.array([room])).choice)


def _row(network: nn.Module, calibration: Images, val: Images) -> dict[str, Cell]:
    """Return what the simulation `network` and its file find, and what the file is like."""
    assert isinstance(network, DetectionModel)
    with tempfile.TemporaryDirectory() as folder:
        exact, path = Path(folder) / "model.onnx", Path(folder) / "model_int8.onnx"
        export_onnx(plain(network), exact, imgsz=calibration.imgsz)
        batches = [batch.numpy() for batch in calibration.batches(BATCH)]
        execution = export_quantized(network, exact, path, calibration=batches)
        simulated, exported = coco_map(predict(network, val), val).map50_95, _file_map(path, val)
        timed = [measure_latency(each, threads=1).median_ms for each in (exact, path)]
        return {
            "simulated": simulated,
            "exported": exported,
            "difference": exported - simulated,
            "size_mb": path.stat().st_size / 1e6,
            "float_size_mb": exact.stat().st_size / 1e6,
            "latency_ms": timed[1],
            "float_latency_ms": timed[0],
            "execution": execution.sentence(),
        }


def _file_map(path: Path, val: Images) -> float:
    network = OnnxDetector(path, threads=1)
    found = [each for part in val.parts(BATCH) for each in detections(network(part.tensor()), part)]
    return coco_map(found, val).map50_95
