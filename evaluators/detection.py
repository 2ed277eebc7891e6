"""What a detector finds on labelled images: its boxes, COCO's mAP, and its task loss.

Nothing here changes the model: it runs in evaluation mode on the device it is on, and is left as it was found.
"""

import copy
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np
import torch
import torchvision  # noqa: F401 - unless it is imported, Ultralytics' NMS falls back on a slow one in Python
from faster_coco_eval import COCO, COCOeval_faster
from numpy.typing import NDArray
from torch import Tensor
from ultralytics.nn.tasks import DetectionModel
from ultralytics.utils.nms import non_max_suppression

from evaluators.images import Images
from evaluators.metric import LOSS, MAP

Predictions = tuple[NDArray[np.float32], ...]  # an image's are (n, 6): x1, y1, x2, y2 in original pixels, score, class
Outputs = tuple[Tensor, dict[str, Tensor]]  # of a detector in evaluation mode: decoded, and as the loss takes them
Criterion = Callable[[Outputs, dict[str, Tensor]], tuple[Tensor, object]]

_MIN_SCORE = 0.001
_MAX_DETECTIONS = 300
_FEW_BOXES = 1000  # mostly enough for NMS to keep _MAX_DETECTIONS of them
_MANY_BOXES = 30_000
_BATCH = 16


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


def predict(model: DetectionModel, images: Images, *, batch: int = _BATCH) -> Predictions:
    """Return what `model` finds on `images`; see `detections`."""
    with _evaluating(model):
        return tuple(found for part, outputs in _run(model, images, batch) for found in detections(outputs[0], part))


def task_loss(model: DetectionModel, images: Images, *, batch: int = _BATCH) -> float:
    """Return Ultralytics' loss for an image: box, class and distribution parts, at their default gains.

    The images of a batch share one normaliser, as in training, so only values of equal `batch` compare.

    Raises:
        ValueError: the loss is not finite.
    """
    criterion = _criterion(model)
    with _evaluating(model):
        losses = [_loss(criterion, outputs, part) for part, outputs in _run(model, images, batch)]
    return _finite({LOSS.name: sum(losses) / len(images)})[LOSS.name]


def score(model: DetectionModel, images: Images, *, batch: int = _BATCH) -> dict[str, float]:
    """Return the readings "map50_95", "map50" and "loss" of `model` on `images`, from one forward pass.

    Raises:
        ValueError: an output or a reading is not finite, or `images` hold no box.
    """
    criterion = _criterion(model)
    found: list[NDArray[np.float32]] = []
    losses = []
    with _evaluating(model):
        for part, outputs in _run(model, images, batch):
            found += detections(outputs[0], part)
            losses.append(_loss(criterion, outputs, part))
    quality = coco_map(found, images)
    return _finite({MAP.name: quality.map50_95, "map50": quality.map50, LOSS.name: sum(losses) / len(images)})


def detections(outputs: Tensor, images: Images) -> Predictions:
    """Return the boxes in the decoded `outputs` of a detector, scores above 0.001, at most 300 for each of `images`.

    Args:
        images: the B images that they are of, for the way back to original pixels.
        outputs: (B, 4 + classes, anchors) with boxes as centre x, centre y, width, height in letterboxed pixels, which
            go through NMS at IoU 0.7; or (B, n, 6) from an end-to-end head, which come without need of it.

    Raises:
        ValueError: an output is not finite.
    """
    if not torch.isfinite(outputs).all():
        raise ValueError("outputs must be finite, got NaN or infinity")
    kept = _suppress(outputs, max_boxes=_FEW_BOXES)
    if outputs.shape[-1] != 6:
        # NMS goes down the scores, so what it has kept once it is full does not depend on boxes further down.
        n_boxes = (outputs[:, 4:] > _MIN_SCORE).sum((1, 2)).tolist()
        for index, n in enumerate(n_boxes):
            if n > _FEW_BOXES and len(kept[index]) < _MAX_DETECTIONS:
                kept[index] = _suppress(outputs[index : index + 1], max_boxes=_MANY_BOXES)[0]
    return tuple(_to_original(boxes.cpu().numpy(), images, index) for index, boxes in enumerate(kept))


def coco_map(predictions: Sequence[NDArray[np.float32]], images: Images) -> CocoMap:
    """Return COCO's average precision of `predictions`, one array as of `detections` for each of `images`.

    Raises:
        ValueError: `images` hold no box.
    """
    if not len(images.boxes):
        raise ValueError("images must hold at least one box for mAP to exist")
    truth = COCO(_truth(images))
    evaluation = COCOeval_faster(truth, truth.loadRes(_results(predictions)), iouType="bbox")
    evaluation.evaluate()
    evaluation.accumulate()
    precision = evaluation.eval["precision"][..., 0, -1]  # (IoU, recall, class) of all sizes, 100 detections
    thresholds = np.asarray(evaluation.params.iouThrs)
    at50, at75 = (precision[np.isclose(thresholds, iou)] for iou in (0.5, 0.75))
    per_class = dict(zip(_classes(images), precision.mean((0, 1)).tolist(), strict=True))
    return CocoMap(float(precision.mean()), float(at50.mean()), float(at75.mean()), per_class)


@contextmanager
def _evaluating(model: DetectionModel) -> Iterator[None]:
    """Switch gradients and training mode off, and put each module's mode back at the end."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        with torch.no_grad():  # inference_mode would leave its mark on the anchors that the head keeps
            yield
    finally:
        for module, mode in modes:
            module.training = mode


def _run(model: DetectionModel, images: Images, batch: int) -> Iterator[tuple[Images, Outputs]]:
    device = next(model.parameters()).device
    for part in images.parts(batch):
        yield part, model(part.tensor().to(device))


def _criterion(model: DetectionModel) -> Criterion:
    """Return Ultralytics' loss of `model` with default gains, whatever the checkpoint was trained with."""
    twin = copy.copy(model)  # its own attributes, the same tensors
    twin.args = SimpleNamespace(box=7.5, cls=0.5, dfl=1.5)
    criterion: Criterion = twin.init_criterion()
    return criterion


def _loss(criterion: Criterion, outputs: Outputs, images: Images) -> float:
    return float(criterion(outputs, images.targets())[0].sum())


def _finite(readings: dict[str, float]) -> dict[str, float]:
    if not all(map(math.isfinite, readings.values())):
        raise ValueError(f"readings must be finite, got {readings}")
    return readings


def _suppress(outputs: Tensor, *, max_boxes: int) -> list[Tensor]:
    kept = non_max_suppression(
        outputs,
        conf_thres=_MIN_SCORE,
        iou_thres=0.7,
        multi_label=True,
        max_det=_MAX_DETECTIONS,
        max_nms=max_boxes,
        max_time_img=math.inf,  # past its time limit it would return nothing for the images that are left
    )
    assert len(kept) == len(outputs)
    return list(kept)


def _to_original(boxes: NDArray[np.float32], images: Images, index: int) -> NDArray[np.float32]:
    """Return `boxes` (n, 6) of letterboxed pixels in the original ones, clipped to the image."""
    corners = (boxes[:, :4] - np.tile(images.pads[index], 2)) / np.tile(images.gains[index], 2)
    height, width = images.shapes[index]
    inside = np.clip(corners, 0, np.array([width, height, width, height]))
    return np.hstack([inside, boxes[:, 4:]]).astype(np.float32)


def _classes(images: Images) -> list[int]:
    """Return the classes that have boxes, in their order; COCO averages over no others."""
    return [int(kind) for kind in np.unique(images.boxes[:, 1])]


def _truth(images: Images) -> dict[str, list[dict[str, object]]]:
    """Return the boxes of `images` in COCO's form, in original pixels."""
    of_image = images.boxes[:, 0].astype(int)
    sizes = images.shapes[of_image][:, ::-1]  # (n, 2) width, height
    extents = images.boxes[:, 4:6] * sizes
    corners = images.boxes[:, 2:4] * sizes - extents / 2
    rows = zip(of_image.tolist(), images.boxes[:, 1].tolist(), np.hstack([corners, extents]).tolist(), strict=True)
    return {
        "images": [{"id": index, "height": int(h), "width": int(w)} for index, (h, w) in enumerate(images.shapes)],
        "categories": [{"id": kind, "name": str(kind)} for kind in _classes(images)],
        "annotations": [
            {
                "id": number,  # from 1: 0 means unmatched to COCO
                "image_id": index,
                "category_id": int(kind),
                "bbox": box,
                "area": box[2] * box[3],
                "iscrowd": 0,
            }
            for number, (index, kind, box) in enumerate(rows, 1)
        ],
    }


def _results(predictions: Sequence[NDArray[np.float32]]) -> list[dict[str, object]]:
    results: list[dict[str, object]] = []
    for index, found in enumerate(predictions):
        for x1, y1, x2, y2, confidence, kind in found.astype(np.float64).tolist():
            box = [x1, y1, x2 - x1, y2 - y1]
            results.append({"image_id": index, "category_id": int(kind), "bbox": box, "score": confidence})
    return results
