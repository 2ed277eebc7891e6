from pathlib import Path

import numpy as np
import pytest

from evaluators.accuracy.detection import coco_map, predict
from evaluators.accuracy.operating_point import best_f1
from evaluators.data.images import Images, load_images
from leaderboards.runs.problem import Problem
from leaderboards.tuning.detection import measure_detection, parent_threshold

# one box of each of three classes in a 100 x 100 image
BOXES = [[0, kind, 0.2 + 0.3 * kind, 0.5, 0.2, 0.2] for kind in range(3)]


def image_with(boxes: list[list[float]]) -> Images:
    pads = np.zeros((1, 2), np.int64)
    return Images(
        np.zeros((1, 3, 8, 8), np.uint8), np.full((1, 2), 100), np.ones((1, 2)), pads, np.array(boxes, np.float32)
    )


def test_a_judgement_has_the_point_the_recall_at_the_parents_threshold_and_the_classes_by_name() -> None:
    images = image_with(BOXES)
    found = [np.array([[10, 40, 30, 60, 0.75, 0], [40, 40, 60, 60, 0.25, 1]], np.float32)]  # both exact, class 2 missed
    detection = measure_detection(found, images, coco_map(found, images), names={0: "a", 1: "b", 2: "c"}, threshold=0.5)
    assert (detection.f1, detection.precision, detection.recall) == (4 / 5, 1.0, 2 / 3)
    assert (detection.f1_threshold, detection.recall_at_parent_threshold) == (0.125, 1 / 3)
    assert detection.class_map50_95 == pytest.approx({"a": 1.0, "b": 1.0, "c": 0.0})


def test_classes_of_one_name_are_told_apart_by_their_number() -> None:
    images = image_with(BOXES)
    found = [np.zeros((0, 6), np.float32)]
    detection = measure_detection(found, images, coco_map(found, images), names={0: "a", 1: "b", 2: "a"}, threshold=0.5)
    assert list(detection.class_map50_95) == ["0 a", "b", "2 a"]


def test_the_parents_threshold_is_found_once_for_all_rows(problem: Problem, tmp_path: Path) -> None:
    path, val = tmp_path / "parent" / "threshold.json", problem.inputs.dataset.val
    images = load_images(val, imgsz=64)
    expected = best_f1(predict(problem.inputs.parent, images), images).threshold
    assert parent_threshold(problem.inputs.parent, val, path, imgsz=64, device="cpu") == expected
    path.write_text("0.25", encoding="utf-8")
    assert parent_threshold(problem.inputs.parent, val, path, imgsz=64, device="cpu") == 0.25
