"""COCO's precision table without COCO's dictionaries: the numbers of faster-coco-eval from plain arrays.

Nothing is a crowd and no box is ignored here, so all that is left of the protocol is: the 100 best detections of a
class in an image, each given greedily to the truth it overlaps most, at ten IoU thresholds.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from evaluators.data.images import Images

IOU_THRESHOLDS = np.linspace(0.5, 0.95, 10)
RECALLS = np.linspace(0, 1, 101)
MAX_OF_A_CLASS = 100  # detections in one image

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


class _Boxes(NamedTuple):
    """Boxes in the order of their groups; a group is one class in one image, all images of a class in a row."""

    group: Ints  # (n,)
    box: Floats  # (n, 4) x, y, width, height in original pixels
    score: Floats  # (n,) descending within a group


def precision_table(predictions: Sequence[NDArray[np.float32]], images: Images, /) -> Floats:
    """Return the interpolated precision as (IoU thresholds, recalls, classes that have boxes).

    Args:
        predictions: for each image (n, 6): x1, y1, x2, y2 in original pixels, score, class.

    Source: pycocotools' cocoeval.py, evaluateImg and accumulate, area "all", maxDets 100.
    """
    kinds = np.unique(images.boxes[:, 1])
    truth = _truth(images, kinds)
    found = _found(predictions, kinds)
    is_right = _match(found, truth)  # (n, IoU)
    table = np.zeros((len(IOU_THRESHOLDS), len(RECALLS), len(kinds)))
    for index in range(len(kinds)):
        bounds = (index * len(images), (index + 1) * len(images))
        first, last = np.searchsorted(found.group, bounds)
        n_truth = int(np.diff(np.searchsorted(truth.group, bounds))[0])
        order = np.argsort(-found.score[first:last], kind="stable")
        table[:, :, index] = _interpolate(is_right[first:last][order], n_truth)
    return table


class Matches(NamedTuple):
    """The detections that count, of all classes and images together, by falling score.

    Attributes:
        score: (n,).
        is_right: (n,) whether it got a truth at IoU 0.5; no other detection shares that truth.
        n_truth: how many boxes there are to be found.
    """

    score: Floats
    is_right: NDArray[np.bool_]
    n_truth: int


def matches(predictions: Sequence[NDArray[np.float32]], images: Images, /) -> Matches:
    """Return which of `predictions`, as of `precision_table`, are right at IoU 0.5.

    Better detections choose first, so what is right above a score does not depend on what lies below it.
    """
    kinds = np.unique(images.boxes[:, 1])
    found = _found(predictions, kinds)
    is_right = _match(found, _truth(images, kinds))[:, 0]
    order = np.argsort(-found.score, kind="stable")
    return Matches(found.score[order], is_right[order], len(images.boxes))


class Tally(NamedTuple):
    """Which detections are right, told by image, so that mAP can be had for any choice of the images.

    Attributes:
        image: (n,) the image that each detection is of, by its place in the split.
        kind: (n,) its class, numbered among those that have boxes; in a row, each by falling score.
        is_right: (n, IoU) whether it gets a truth at each threshold.
        n_truth: (images, classes) how many boxes there are to be found.
    """

    image: Ints
    kind: Ints
    is_right: NDArray[np.bool_]
    n_truth: Ints


def tally(predictions: Sequence[NDArray[np.float32]], images: Images, /) -> Tally:
    """Return which of `predictions`, as of `precision_table`, are right at each threshold."""
    kinds = np.unique(images.boxes[:, 1])
    found, truth = _found(predictions, kinds), _truth(images, kinds)
    kind, image = np.divmod(found.group, len(images))
    order = np.lexsort((-found.score, kind))  # stable, as in `precision_table`
    n_truth = np.bincount(truth.group, minlength=len(kinds) * len(images)).reshape(len(kinds), len(images)).T
    return Tally(image[order], kind[order], _match(found, truth)[order], n_truth)


def _truth(images: Images, kinds: NDArray[np.float32]) -> _Boxes:
    of_image = images.boxes[:, 0].astype(np.int64)
    sizes = images.shapes[of_image][:, ::-1]  # (n, 2) width, height
    extents = images.boxes[:, 4:6] * sizes
    box = np.hstack([images.boxes[:, 2:4] * sizes - extents / 2, extents])
    group = np.searchsorted(kinds, images.boxes[:, 1]) * len(images) + of_image
    order = np.argsort(group, kind="stable")
    return _Boxes(group[order], box[order], np.ones(len(order)))


def _found(predictions: Sequence[NDArray[np.float32]], kinds: NDArray[np.float32]) -> _Boxes:
    """Return the detections that count: of classes that have boxes, the best 100 of each group."""
    table = np.concatenate([*predictions, np.zeros((0, 6), np.float32)]).astype(np.float64)
    of_image = np.repeat(np.arange(len(predictions)), [len(found) for found in predictions])
    is_known = np.isin(table[:, 5], kinds)
    table, of_image = table[is_known], of_image[is_known]
    group = np.searchsorted(kinds, table[:, 5]) * len(predictions) + of_image
    order = np.lexsort((-table[:, 4], group))  # stable: of equal scores the first comes first
    group = group[order]
    rank = np.arange(len(group)) - np.searchsorted(group, group)
    corners = table[order, :4]
    box = np.hstack([corners[:, :2], corners[:, 2:] - corners[:, :2]])
    counts = (rank < MAX_OF_A_CLASS) & (box[:, 2] * box[:, 3] >= 0)  # COCO ignores a negative area, yet ranks it
    return _Boxes(group[counts], box[counts], table[order, 4][counts])


def _match(found: _Boxes, truth: _Boxes) -> NDArray[np.bool_]:
    """Return (n, IoU) whether a detection gets a truth at each threshold.

    The thresholds are matched at once, one bit each: going down the overlaps of a detection, a truth serves it at the
    thresholds that the overlap reaches, where neither of the two is taken.
    """
    detection, target, overlap = _overlaps(found, truth)
    order = np.lexsort((-target, -overlap, detection))  # of equal overlaps COCO takes the last truth
    reached = (1 << np.searchsorted(IOU_THRESHOLDS, overlap, side="right")) - 1
    won, taken = [0] * len(found.group), [0] * len(truth.group)
    pairs = zip(detection[order].tolist(), target[order].tolist(), reached[order].tolist(), strict=True)
    for one, other, bits in pairs:
        free = bits & ~taken[other] & ~won[one]
        won[one] |= free
        taken[other] |= free
    bits = 1 << np.arange(len(IOU_THRESHOLDS))
    return (np.array(won, np.int64)[:, None] & bits) > 0


def _overlaps(found: _Boxes, truth: _Boxes) -> tuple[Ints, Ints, Floats]:
    """Return index of detection, index of truth and IoU for all pairs of a group that reach the lowest threshold."""
    first = np.searchsorted(truth.group, found.group)
    count = np.searchsorted(truth.group, found.group, side="right") - first
    detection = np.repeat(np.arange(len(count)), count)
    target = np.arange(len(detection)) - np.repeat(np.cumsum(count) - count - first, count)
    one, other = found.box.T[:, detection], truth.box.T[:, target]
    sides = np.minimum(one[:2] + one[2:], other[:2] + other[2:]) - np.maximum(one[:2], other[:2])
    common = sides.clip(0).prod(0)
    overlap = common / np.maximum(one[2:].prod(0) + other[2:].prod(0) - common, np.finfo(float).tiny)
    near = overlap >= IOU_THRESHOLDS[0]
    return detection[near], target[near], overlap[near]


def _interpolate(is_right: NDArray[np.bool_], n_truth: int) -> Floats:
    """Return (IoU, recalls) the best precision at or beyond each recall; `is_right` (n, IoU) by falling score."""
    # what recall r needs is the first count of hits with count / n_truth >= r, and always one
    needed = np.maximum(np.searchsorted(np.arange(n_truth + 1) / n_truth, RECALLS), 1)
    precision = np.zeros((len(IOU_THRESHOLDS), len(RECALLS)))
    for row, hits in zip(precision, is_right.T, strict=True):
        places = np.flatnonzero(hits) + 1
        at_hit = np.arange(1, len(places) + 1) / places
        best = np.maximum.accumulate(at_hit[::-1])[::-1]  # a miss only lowers it: the best is at a hit
        in_reach = needed <= len(best)
        row[in_reach] = best[needed[in_reach] - 1]
    return precision
