"""What is measured of a finished row: its network, and each file that is deployed of it, on the sealed split."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from ultralytics.nn.tasks import DetectionModel

from evaluators.accuracy.average_precision import tally
from evaluators.accuracy.detection import CocoMap, coco_map, detections, predict
from evaluators.accuracy.layer_noise import unrounded, worst_layers
from evaluators.accuracy.resampled_map import save_tally
from evaluators.data.images import Images
from evaluators.runtimes.precision import Precision
from evaluators.runtimes.runtime import Exported, Runtime
from leaderboards.files.export import compare
from leaderboards.run_folder import TALLY
from leaderboards.tuning.detection import measure_detection
from spaces.bits.quantized import bits_mean, plain, quantized_layers
from spaces.cutting.masks import bytes_saved, share_of_zeros

N_COMPARED = 4
EXACT = 1e-3  # of the largest output: nearer than that a file finds what the network does
N_LISTENED = 16  # images that layers are compared on


def measure_row(
    model: DetectionModel,
    folder: Path,
    val: Images,
    written: Sequence[tuple[Runtime, Exported]],
    /,
    *,
    device: str,
    threshold: float,
) -> dict[str, object]:
    """Return what is measured of the row whose network is `model`, latency apart, by its name in `Quality`.

    Args:
        written: its files in `folder`, by the runtime that computes them, the one that it stands for first.
        threshold: the score at which the parent's F1 is best.
    """
    found = predict(model.to(device), val)
    model.cpu()
    save_tally(tally(found, val), folder / TALLY)
    quality = coco_map(found, val)
    files = _Files(model, folder, val, threshold, quality)
    return {
        "map50_95": quality.map50_95,
        "map50": quality.map50,
        "params_m": sum(parameter.numel() for parameter in plain(model).parameters()) / 1e6,
        "bits_mean": bits_mean(model),
        "detection": files.detection(found, quality),
        "files": files.measured(written),
        "worst_layers": _worst_layers(model, val),
    }


def sparsity(model: DetectionModel, size: int, /) -> dict[str, float]:
    """Return what the zeros of a masked network are, and would be, worth; its exact file has `size` bytes."""
    return {"zeros": share_of_zeros(model), "sparse_size_mb": (size - bytes_saved(model)) / 1e6}


def size_of(path: Path, /) -> int:
    """Return the bytes of a file, or of all files of a folder that counts as one."""
    return path.stat().st_size if path.is_file() else sum(part.stat().st_size for part in path.rglob("*"))


@dataclass(frozen=True, eq=False)
class _Files:
    """What measures the files of one row.

    Attributes:
        threshold: the parent's.
        quality: of the row's own network.
    """

    model: DetectionModel
    folder: Path
    val: Images
    threshold: float
    quality: CocoMap

    def measured(self, written: Sequence[tuple[Runtime, Exported]]) -> list[dict[str, object]]:
        """Return what is measured of the deployed files, latency apart, the one that the row stands for first.

        The exact file of a network of few bits holds its rounded weights and not its bits, so it is none of them.
        """
        has_bits = bool(quantized_layers(self.model))
        errors = {
            runtime.name: self._error(runtime, exported)
            for runtime, exported in written
            if exported.precision is Precision.FP32
        }
        return [
            self._file(runtime, exported, error=errors.get(runtime.name))
            for runtime, exported in written
            if not (has_bits and exported.precision is Precision.FP32)
        ]

    def detection(self, found: Sequence[NDArray[np.float32]], quality: CocoMap) -> dict[str, object]:
        """Return what mAP does not tell of what one file has `found`."""
        return asdict(measure_detection(found, self.val, quality, names=self.model.names, threshold=self.threshold))

    def _error(self, runtime: Runtime, exported: Exported) -> float:
        file = runtime.open(self.folder / exported.file, threads=1)
        return compare(plain(self.model), file, next(self.val.batches(N_COMPARED)).numpy())

    def _file(self, runtime: Runtime, exported: Exported, *, error: float | None) -> dict[str, object]:
        path = self.folder / exported.file
        facts = {
            "runtime": runtime.name,
            "precision": exported.precision.value,
            "file": exported.file,
            "size_mb": size_of(path) / 1e6,
            "error": error if exported.precision is Precision.FP32 or exported.execution else None,
            "execution": exported.execution,
            "kind": exported.kind,
        }
        if exported.precision is Precision.FP32 and error is not None and error <= EXACT:
            return {**facts, "map50_95": self.quality.map50_95}  # the network's own, to float precision
        network = runtime.open(path, threads=torch.get_num_threads())
        found = [boxes for part in self.val.parts(16) for boxes in detections(network(part.tensor()), part)]
        quality = coco_map(found, self.val)
        return {**facts, "map50_95": quality.map50_95, "detection": self.detection(found, quality)}


def _worst_layers(model: DetectionModel, val: Images) -> dict[str, float] | None:
    """Return the signal-to-noise ratio in dB of the layers whose bits cost the most; None where none has few bits."""
    if not quantized_layers(model):
        return None
    return worst_layers(model, unrounded(model), next(val.parts(N_LISTENED)))
