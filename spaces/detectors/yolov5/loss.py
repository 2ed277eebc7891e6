"""The training loss of the original YOLOv5: anchors are matched by shape, and objectness learns how well boxes fit.

An object is learned by every anchor whose sides differ from its own by less than a factor of 4, at its place and at
the two neighbours that its centre is nearest to. Objectness is learned by all anchors: its target is the overlap that
the box has just now. One thing is decided here: if several objects meet at one anchor, its objectness learns the best
overlap, whatever their order.
"""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional
from ultralytics.utils.metrics import bbox_iou

from spaces.detectors.yolov5.head import AnchorDetect, decode

MAX_RATIO = 4.0
BOX_GAIN, OBJECTNESS_GAIN, CLASS_GAIN = 0.05, 1.0, 0.5  # at 3 levels, 80 classes and 640 pixels
BALANCES = {3: (4.0, 1.0, 0.4), 4: (4.0, 1.0, 0.25, 0.06)}  # how objectness counts, by the number of levels
SIDES = ((0.0, 0.0), (0.5, 0.0), (0.0, 0.5), (-0.5, 0.0), (0.0, -0.5))  # the own place, then left, above, right, below


class Matches(NamedTuple):
    """Which anchors of a level learn which objects, n pairs.

    Attributes:
        target: (n,) index of the object.
        shape: (n,) index of the anchor's shape.
        place: (n, 2) x and y of the anchor's place.
    """

    target: Tensor
    shape: Tensor
    place: Tensor


def match(boxes: Tensor, anchors: Tensor, *, size: tuple[int, int]) -> Matches:
    """Return what the anchors of one level learn.

    Args:
        boxes: (m, 4) centre x, centre y, width, height in places.
        anchors: (k, 2) width and height in places.
        size: height and width of the level's map.
    """
    ratios = boxes[:, None, 2:] / anchors  # (m, k, 2)
    target, shape = (torch.maximum(ratios, 1 / ratios).amax(2) < MAX_RATIO).nonzero(as_tuple=True)
    centres = boxes[target, :2]
    extent = centres.new_tensor(size[::-1])
    is_near = [(side % 1 < 0.5) & (side > 1) for side in (centres, extent - centres)]  # left and above, right and below
    is_learned = torch.cat([torch.ones_like(is_near[0][:, :1]), *is_near], 1)  # (pairs, 5)
    pair, side = is_learned.nonzero(as_tuple=True)
    places = (centres[pair] - centres.new_tensor(SIDES)[side]).long()
    return Matches(target[pair], shape[pair], torch.minimum(places.clamp_min(0), extent.long() - 1))


class AnchorLoss:
    """The loss of the raw outputs of `head`, called like Ultralytics' criteria."""

    def __init__(self, head: AnchorDetect) -> None:
        self._head = head

    def __call__(
        self, outputs: Mapping[str, Tensor] | tuple[Tensor, Mapping[str, Tensor]], batch: Mapping[str, Tensor], /
    ) -> tuple[Tensor, Tensor]:
        """Return the loss of boxes, objectness and classes (3,) times the number of images, and without this factor.

        Args:
            outputs: raw, or decoded and raw.
            batch: "batch_idx" (n,), "cls" (n, 1) and "bboxes" (n, 4), centre and size as fractions of the image.

        Returns:
            The second is detached.
        """
        raw = outputs[1] if isinstance(outputs, tuple) else outputs
        head, scores = self._head, raw["scores"]
        height, width = (side * head.stride[0] for side in raw["feats"][0].shape[2:])
        objects = _Objects(
            batch["batch_idx"].to(scores.device).long(),
            batch["cls"].to(scores.device).long().flatten(),
            batch["bboxes"].to(scores) * scores.new_tensor([width, height, width, height]),
        )
        parts = torch.stack([_level_loss(level, objects) for level in _levels(head, raw)])  # (levels, 3)
        balance = scores.new_tensor(BALANCES.get(head.nl, (1.0,) * head.nl))
        box, objectness, classes = parts[:, 0].sum(), (parts[:, 1] * balance).sum(), parts[:, 2].sum()
        size_gain, class_gain = height * width / 640**2, head.nc / 80
        loss = torch.stack(
            [BOX_GAIN * box, OBJECTNESS_GAIN * size_gain * objectness, CLASS_GAIN * class_gain * classes]
        )
        loss = loss * (3 / head.nl)
        return loss * len(scores), loss.detach()


class _Objects(NamedTuple):
    """The labelled objects of a batch: image (n,), class (n,), and box (n, 4), centre and size in pixels."""

    image: Tensor
    kind: Tensor
    box: Tensor


class _Level(NamedTuple):
    """What the head gives at one level.

    Attributes:
        boxes: (B, 4, A) raw.
        objectness: (B, A) raw.
        scores: (B, nc, A) raw.
        grid: see `AnchorDetect.grid`.
        anchors: (na, 2) width and height in places.
        size: height and width of the map.
    """

    boxes: Tensor
    objectness: Tensor
    scores: Tensor
    grid: tuple[Tensor, Tensor, Tensor]
    anchors: Tensor
    size: tuple[int, int]


def _levels(head: AnchorDetect, raw: Mapping[str, Tensor]) -> Iterator[_Level]:
    maps = list(raw["feats"])
    sizes = [(int(level.shape[2]), int(level.shape[3])) for level in maps]
    counts = [head.na * height * width for height, width in sizes]
    outputs = (raw["boxes"], raw["objectness"].squeeze(1), raw["scores"], *head.grid(maps))
    split = zip(*(output.split(counts, -1) for output in outputs), head.anchors, sizes, strict=True)
    for boxes, objectness, scores, corners, shapes, strides, anchors, size in split:
        yield _Level(boxes, objectness, scores, (corners, shapes, strides), anchors, size)


def _level_loss(level: _Level, objects: _Objects) -> Tensor:
    """Return the loss of boxes, objectness and classes at one level (3,), without gains."""
    height, width = level.size
    stride = level.grid[2][0, 0]
    target, shape, place = match(objects.box / stride, level.anchors, size=level.size)
    image, anchor = objects.image[target], (shape * height + place[:, 1]) * width + place[:, 0]
    predicted = decode(level.boxes[image, :, anchor].T[None], *(part[:, anchor] for part in level.grid))[0].T
    overlap = bbox_iou(predicted, objects.box[target], CIoU=True).squeeze(1)  # (n,)
    learned = torch.zeros_like(level.objectness).flatten()
    learned = learned.scatter_reduce(0, image * level.objectness.shape[1] + anchor, overlap.detach().clamp(0), "amax")
    scores = level.scores[image, :, anchor]  # (n, nc)
    kinds = functional.one_hot(objects.kind[target], scores.shape[1]).to(scores)
    n_pairs = max(len(target), 1)
    return torch.stack(
        [
            (1 - overlap).sum() / n_pairs,
            functional.binary_cross_entropy_with_logits(level.objectness.flatten(), learned),
            functional.binary_cross_entropy_with_logits(scores, kinds, reduction="sum") / kinds.shape[1] / n_pairs,
        ]
    )
