import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from evaluators.accuracy.operating_point import OperatingPoint, best_f1, recall_at
from evaluators.data.images import Images
from tests.evaluators.accuracy.test_average_precision import Predictions, random_case

# three boxes of one class in two images of 100 x 200: two on the left, one on the right
BOXES = np.array([[0, 0, 0.25, 0.25, 0.2, 0.2], [0, 0, 0.25, 0.75, 0.2, 0.2], [1, 0, 0.75, 0.5, 0.2, 0.2]], np.float32)
CORNERS: list[list[float]] = [[30, 15, 70, 35], [30, 65, 70, 85], [130, 40, 170, 60]]
NOWHERE: list[float] = [0, 0, 5, 5]


def images_of(boxes: NDArray[np.float32]) -> Images:
    zeros = np.zeros((2, 2), np.int64)
    return Images(np.zeros((2, 3, 8, 8), np.uint8), np.tile([100, 200], (2, 1)), np.ones((2, 2)), zeros, boxes)


def found(*rows: list[float]) -> NDArray[np.float32]:
    return np.array(rows, np.float32).reshape(-1, 6)


def iou(one: list[float], other: list[float]) -> float:
    """Return the IoU of two boxes x, y, width, height, rounded as it is in COCO: many are one half to the last bit."""
    sides = [min(one[i] + one[i + 2], other[i] + other[i + 2]) - max(one[i], other[i]) for i in (0, 1)]
    common = max(sides[0], 0) * max(sides[1], 0)
    return common / max(one[2] * one[3] + other[2] * other[3] - common, 1e-300)


def naive_counts(predictions: Predictions, images: Images, threshold: float) -> tuple[int, int]:
    """Return how many detections reach `threshold` and how many of them are right, box by box."""
    n_found = n_right = 0
    for index, boxes in enumerate(predictions):
        for kind in np.unique(images.boxes[:, 1]):
            own = images.boxes[(images.boxes[:, 0] == index) & (images.boxes[:, 1] == kind), 2:].astype(float)
            sizes = [(x * 200, y * 100, w * 200, h * 100) for x, y, w, h in own.tolist()]
            truths = [[x - w / 2, y - h / 2, w, h] for x, y, w, h in sizes]
            rows = sorted(boxes[boxes[:, 5] == kind].astype(float).tolist(), key=lambda row: -row[4])[:100]
            for row in rows:
                if row[4] < threshold:
                    continue
                n_found += 1
                box = [row[0], row[1], row[2] - row[0], row[3] - row[1]]
                overlaps = [(iou(box, truth), place) for place, truth in enumerate(truths)]
                overlap, place = max(overlaps, default=(0.0, -1))  # of equal ones the last, as COCO
                if overlap >= 0.5:
                    n_right += 1
                    truths[place] = [1e6, 1e6, 1.0, 1.0]
    return n_found, n_right


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), n_images=st.integers(1, 6), n_found=st.sampled_from([1, 12, 60]))
def test_the_best_f1_is_that_of_trying_every_score_box_by_box(seed: int, n_images: int, n_found: int) -> None:
    predictions, images = random_case(seed, n_images=n_images, n_found=n_found)
    n_truth = len(images.boxes)
    if not n_truth:
        return
    point = best_f1(predictions, images)
    tried = {}
    for score in np.unique(np.concatenate(predictions)[:, 4]).tolist():
        n_all, n_right = naive_counts(predictions, images, score)
        tried[score] = 2 * n_right / (n_all + n_truth)
    assert point.f1 == pytest.approx(max(tried.values()), abs=1e-12)
    n_all, n_right = naive_counts(predictions, images, point.threshold)
    assert point.recall == pytest.approx(n_right / n_truth)
    assert recall_at(predictions, images, threshold=point.threshold) == point.recall
    if point.f1 > 0:
        assert point.precision == pytest.approx(n_right / n_all)


def test_a_threshold_lies_halfway_between_what_is_kept_and_what_is_not() -> None:
    first = found([*CORNERS[0], 0.75, 0], [*NOWHERE, 0.25, 0])
    second = found([*CORNERS[2], 0.5, 0])
    # kept: 0.75 and 0.5, both right, of three boxes: F1 = 2 * 2 / (2 + 3); the wrong 0.25 would make it 4 / 6
    point = best_f1([first, second], images_of(BOXES))
    assert point == OperatingPoint(threshold=0.375, f1=4 / 5, precision=1.0, recall=2 / 3)
    assert recall_at([first, second], images_of(BOXES), threshold=0.6) == 1 / 3


def test_equal_f1_takes_the_highest_threshold_and_equal_scores_go_together() -> None:
    # 0.75: 1 of 1 is right, F1 = 2 / 4; both of 0.5 and the one of 0.25: 2 of 4 would be 4 / 7, with two wrong ones
    # more at 0.5 it is 2 of 5, F1 = 4 / 8: as much, so the higher threshold stays
    first = found([*CORNERS[0], 0.75, 0], [*CORNERS[1], 0.5, 0], [*NOWHERE, 0.5, 0], [*NOWHERE, 0.5, 0])
    second = found([*NOWHERE, 0.5, 0])
    point = best_f1([first, second], images_of(BOXES))
    assert point == OperatingPoint(threshold=0.625, f1=0.5, precision=1.0, recall=1 / 3)


def test_where_nothing_is_right_no_detection_is_kept() -> None:
    nothing = OperatingPoint(threshold=1.0, f1=0.0, precision=0.0, recall=0.0)
    assert best_f1([found(), found()], images_of(BOXES)) == nothing
    assert best_f1([found([*NOWHERE, 0.9, 0]), found()], images_of(BOXES)) == nothing
    assert recall_at([found(), found()], images_of(BOXES), threshold=0.0) == 0.0


def test_without_boxes_there_is_no_recall() -> None:
    for measure in (lambda: best_f1([found()] * 2, images_of(BOXES[:0])),
                    lambda: recall_at([found()] * 2, images_of(BOXES[:0]), threshold=0.5)):  # fmt: skip
        with pytest.raises(ValueError, match="at least one box"):
            measure()
