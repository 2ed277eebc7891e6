"""What a detector finds on labelled images: its boxes, COCO's mAP, and its task loss.

Nothing here changes the model: what runs is a copy in evaluation mode, its BatchNorm folded, on the device it is on.
"""

import copy
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils._pytree import tree_map_only
from ultralytics.nn.tasks import DetectionModel

from evaluators.accuracy.average_precision import IOU_THRESHOLDS, precision_table
from evaluators.accuracy.suppression import suppress
from evaluators.data.images import Images
from evaluators.metric import LOSS, MAP
from spaces.networks.autocast import products_in
from spaces.networks.compute_dtype import ComputeDtype
from spaces.networks.folding import fold_bn, keep_outputs_exact_

Predictions = tuple[NDArray[np.float32], ...]  # an image's are (n, 6): x1, y1, x2, y2 in original pixels, score, class
Outputs = tuple[Tensor, dict[str, Tensor]]  # of a detector in evaluation mode: decoded, and raw
Raw = TypeVar("Raw")
Criterion = Callable[[Outputs, dict[str, Tensor]], tuple[Tensor, object]]

_BATCH = 16
_BATCH_PIXELS = 8 * 320**2  # more lose up to a quarter of the time to page faults


@dataclass(frozen=True)
class CocoMap:
    """COCO's average precision, each in [0, 1].

    Attributes:
        map50_95: mean over the IoU thresholds 0.50 to 0.95 and the classes that have boxes.
        per_class: the same for each class that has boxes.
    """

    map50_95: float
    map50: float
    map75: float
    per_class: Mapping[int, float]


def predict(
    model: DetectionModel, images: Images, *, batch: int | None = None, precision: ComputeDtype = ComputeDtype.FLOAT32
) -> Predictions:
    """Return what `model` finds on `images`; see `detections`."""
    parts = run(model, images, batch=batch, precision=precision)
    return tuple(found for part, outputs in parts for found in detections(outputs[0], part))


def task_loss(
    model: DetectionModel, images: Images, *, batch: int | None = None, precision: ComputeDtype = ComputeDtype.FLOAT32
) -> float:
    """Return Ultralytics' loss for an image, the sum of its `task_losses`; see there."""
    return sum(task_losses(model, images, batch=batch, precision=precision))


def task_losses(
    model: DetectionModel, images: Images, *, batch: int | None = None, precision: ComputeDtype = ComputeDtype.FLOAT32
) -> tuple[float, ...]:
    """Return the parts of Ultralytics' loss for an image at their default gains: box, class and distribution.

    The images of a batch share one normaliser, as in training, so only values of equal `batch` compare; by default it
    follows from the size of the images.

    Raises:
        ValueError: the loss is not finite.
    """
    criterion = _criterion(model)
    batches = run(model, images, batch=batch, precision=precision)
    return _means([_losses(criterion, outputs, part) for part, outputs in batches], images)


def score(
    model: DetectionModel, images: Images, *, batch: int | None = None, precision: ComputeDtype = ComputeDtype.FLOAT32
) -> dict[str, float]:
    """Return the readings "map50_95", "map50" and "loss" of `model` on `images`, from one forward pass.

    Raises:
        ValueError: an output or a reading is not finite, or `images` hold no box.
    """
    criterion = _criterion(model)
    found: list[NDArray[np.float32]] = []
    losses = []
    for part, outputs in run(model, images, batch=batch, precision=precision):
        found += detections(outputs[0], part)
        losses.append(_losses(criterion, outputs, part))
    quality = coco_map(found, images)
    return _finite({MAP.name: quality.map50_95, "map50": quality.map50, LOSS.name: sum(_means(losses, images))})


def detections(outputs: Tensor, images: Images) -> Predictions:
    """Return the boxes in the decoded `outputs` of a detector, scores above 0.001, at most 300 for each of `images`.

    Args:
        images: the B images that they are of, for the way back to original pixels.
        outputs: (B, 4 + classes, anchors) with boxes as centre x, centre y, width, height in letterboxed pixels, which
            go through NMS at IoU 0.7; or (B, n, 6) from an end-to-end head, which come without need of it.

    Raises:
        ValueError: an output is not finite.
    """
    lowest, highest = outputs.aminmax() if outputs.numel() else (outputs.sum(), outputs.sum())
    if not (lowest.isfinite() and highest.isfinite()):  # NaN comes through both
        raise ValueError("outputs must be finite, got NaN or infinity")
    return tuple(to_original(boxes.cpu().numpy(), images, index) for index, boxes in enumerate(suppress(outputs)))


def coco_map(predictions: Sequence[NDArray[np.float32]], images: Images) -> CocoMap:
    """Return COCO's average precision of `predictions`, one array as of `detections` for each of `images`.

    Raises:
        ValueError: `images` hold no box.
    """
    if not len(images.boxes):
        raise ValueError("images must hold at least one box for mAP to exist")
    table = precision_table(predictions, images)  # (IoU, recall, class)
    at50, at75 = (table[np.isclose(IOU_THRESHOLDS, iou)] for iou in (0.5, 0.75))
    kinds = np.unique(images.boxes[:, 1]).astype(int).tolist()  # COCO averages over no others
    per_class = dict(zip(kinds, table.mean((0, 1)).tolist(), strict=True))
    return CocoMap(float(table.mean()), float(at50.mean()), float(at75.mean()), per_class)


def batch_of(images: Images, /) -> int:
    """Return how many of `images` go through a detector at once, as many as run fastest."""
    return min(_BATCH, max(1, _BATCH_PIXELS // images.imgsz**2))


@torch.no_grad()  # inference_mode would leave its mark on the anchors that the head keeps
def run(
    model: DetectionModel, images: Images, *, batch: int | None = None, precision: ComputeDtype = ComputeDtype.FLOAT32
) -> Iterator[tuple[Images, Outputs]]:
    """Yield the images of each batch and what `model` makes of them, in float32 whatever it was computed in."""
    folded = fold_bn(model)
    if precision is not ComputeDtype.FLOAT32:
        keep_outputs_exact_(folded)
    device = next(model.parameters()).device
    for part in images.parts(batch or batch_of(images)):
        with products_in(precision):
            outputs = folded(part.tensor().to(device))
        yield part, in_float32(outputs)


def in_float32(raw: Raw, /) -> Raw:
    """Return `raw`, the outputs of a detector, with every tensor in float32, as losses need them."""
    floats: Raw = tree_map_only(Tensor, Tensor.float, raw)
    return floats


def _criterion(model: DetectionModel) -> Criterion:
    """Return Ultralytics' loss of `model` with default gains, whatever the checkpoint was trained with."""
    twin = copy.copy(model)  # its own attributes, the same tensors
    twin.args = SimpleNamespace(box=7.5, cls=0.5, dfl=1.5)
    criterion: Criterion = twin.init_criterion()
    return criterion


def _losses(criterion: Criterion, outputs: Outputs, images: Images) -> Tensor:
    """Return the parts of the loss of a batch, summed over its images, (n_parts,)."""
    with torch.no_grad():
        return criterion(outputs, images.targets())[0]


def _means(losses: Sequence[Tensor], images: Images) -> tuple[float, ...]:
    """Return the parts of the loss for an image from those of the batches of `images`, (n_parts,) each."""
    means: list[float] = (torch.stack(list(losses)).double().sum(0) / len(images)).tolist()
    _finite({LOSS.name: sum(means)})
    return tuple(means)


def _finite(readings: dict[str, float]) -> dict[str, float]:
    if not all(map(math.isfinite, readings.values())):
        raise ValueError(f"readings must be finite, got {readings}")
    return readings


def to_original(boxes: NDArray[np.float32], images: Images, index: int) -> NDArray[np.float32]:
    """Return `boxes` (n, 6) of letterboxed pixels in the original ones, clipped to the image."""
    corners = (boxes[:, :4] - np.tile(images.pads[index], 2)) / np.tile(images.gains[index], 2)
    height, width = images.shapes[index]
    inside = np.clip(corners, 0, np.array([width, height, width, height]))
    return np.hstack([inside, boxes[:, 4:]]).astype(np.float32)
