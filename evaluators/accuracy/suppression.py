"""Non-maximum suppression that stops when it is full: Ultralytics' detections, in a fraction of the work.

Greedy NMS goes down the scores, so what it has kept does not depend on boxes further down. The boxes come in slices;
each is suppressed together with what the slices before it have left.
"""

import torch
from torch import Tensor
from torchvision.ops import nms

MIN_SCORE = 0.001
MAX_IOU = 0.7
MAX_DETECTIONS = 300
MAX_BOXES = 30_000
_SLICE = 500
_CLASS_OFFSET = 7680  # pixels: boxes of different classes never overlap; Ultralytics' value, it rounds the boxes too


def suppress(outputs: Tensor, /) -> list[Tensor]:
    """Return for each image the boxes (n, 6) that NMS keeps: x1, y1, x2, y2, score, class, by falling score.

    Args:
        outputs: decoded outputs (B, 4 + classes, anchors) with centre x, centre y, width, height; or (B, n, 6) of an
            end-to-end head, which come without need of NMS.
    """
    if outputs.shape[-1] == 6:
        return [rows[rows[:, 4] > MIN_SCORE][:MAX_DETECTIONS].float() for rows in outputs]
    has_object = outputs[:, 4:].amax(1) > MIN_SCORE  # (B, anchors)
    return [_suppress_one(image[:, anchors].T) for image, anchors in zip(outputs, has_object, strict=True)]


def _suppress_one(anchors: Tensor) -> Tensor:
    """Return the boxes (n, 6) kept of `anchors` (m, 4 + classes); an anchor is a box of each class that scores."""
    anchor, kind = torch.where(anchors[:, 4:] > MIN_SCORE)
    scores, order = anchors[anchor, 4 + kind].sort(descending=True, stable=True)
    anchor, kind, scores = anchor[order[:MAX_BOXES]], kind[order[:MAX_BOXES]].float(), scores[:MAX_BOXES]
    half = anchors[:, 2:4] / 2
    boxes = torch.cat([anchors[:, :2] - half, anchors[:, :2] + half], 1)[anchor]
    apart = boxes + kind[:, None] * _CLASS_OFFSET
    kept = torch.arange(0, device=anchors.device)
    for start in range(0, len(scores), _SLICE):
        more = torch.arange(start, min(start + _SLICE, len(scores)), device=anchors.device)
        tried = torch.cat([kept, more])
        kept = tried[nms(apart[tried], scores[tried], MAX_IOU)]
        if len(kept) >= MAX_DETECTIONS:
            break
    kept = kept[:MAX_DETECTIONS]
    return torch.cat([boxes[kept], scores[kept, None], kind[kept, None]], 1)
