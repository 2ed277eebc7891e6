"""How a detector does where it is deployed: at one score threshold, over all classes together.

mAP averages over all thresholds, so it does not see that a network's scores have moved. What is right and what counts
is as in COCO's mAP at IoU 0.5: at most 100 detections of a class in an image, and no class without a box.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from evaluators.accuracy.average_precision import matches
from evaluators.data.images import Images


@dataclass(frozen=True)
class OperatingPoint:
    """What is found and what is right among detections whose score is at least `threshold`, each in [0, 1].

    Attributes:
        f1: harmonic mean of precision and recall.
    """

    threshold: float
    f1: float
    precision: float
    recall: float


def best_f1(predictions: Sequence[NDArray[np.float32]], images: Images, /) -> OperatingPoint:
    """Return the operating point of the highest F1; ties: the highest threshold.

    Every score that occurs is tried. The threshold lies halfway to the next lower one, so that a network which rounds
    otherwise counts the same. Where nothing is right at any threshold, it is 1 and the rest is 0.

    Args:
        predictions: for each image (n, 6): x1, y1, x2, y2 in original pixels, score, class.

    Raises:
        ValueError: `images` hold no box.
    """
    _check_boxes(images)
    score, is_right, n_truth = matches(predictions, images)
    if not is_right.any():
        return OperatingPoint(1.0, 0.0, 0.0, 0.0)
    lower = np.append(score[1:], 0.0)
    last = np.flatnonzero(lower < score)  # of its score: detections that tie go together
    n_found, n_right = last + 1, is_right.cumsum()[last]
    f1 = 2 * n_right / (n_found + n_truth)
    best = int(f1.argmax())
    threshold = (score + lower)[last[best]] / 2
    precision, recall = n_right[best] / n_found[best], n_right[best] / n_truth
    return OperatingPoint(float(threshold), float(f1[best]), float(precision), float(recall))


def recall_at(predictions: Sequence[NDArray[np.float32]], images: Images, /, *, threshold: float) -> float:
    """Return the share of all boxes that detections with a score of at least `threshold` find.

    Raises:
        ValueError: `images` hold no box.
    """
    _check_boxes(images)
    score, is_right, n_truth = matches(predictions, images)
    return float(is_right[score >= threshold].sum() / n_truth)


def _check_boxes(images: Images) -> None:
    if not len(images.boxes):
        raise ValueError("images must hold at least one box for recall to exist")
