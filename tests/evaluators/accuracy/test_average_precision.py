import os
from pathlib import Path

import numpy as np
import pytest
from faster_coco_eval import COCO, COCOeval_faster
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from ultralytics import YOLO

from evaluators.accuracy.average_precision import precision_table
from evaluators.accuracy.detection import predict
from evaluators.data.dataset import load_dataset
from evaluators.data.images import Images, load_images

Predictions = list[NDArray[np.float32]]


def faster_coco_eval(predictions: Predictions, images: Images) -> NDArray[np.float64]:
    """Return the precision of faster-coco-eval as (IoU, recall, class), fed as its documentation says."""
    sizes = images.shapes[images.boxes[:, 0].astype(int)][:, ::-1]
    extents = images.boxes[:, 4:6] * sizes
    corners = images.boxes[:, 2:4] * sizes - extents / 2
    rows = zip(images.boxes[:, :2].astype(int).tolist(), np.hstack([corners, extents]).tolist(), strict=True)
    truth = COCO(
        {
            "images": [{"id": index, "height": int(h), "width": int(w)} for index, (h, w) in enumerate(images.shapes)],
            "categories": [{"id": int(kind), "name": str(kind)} for kind in np.unique(images.boxes[:, 1])],
            "annotations": [
                {"id": number, "image_id": index, "category_id": kind, "bbox": box, "area": box[2] * box[3]}
                | {"iscrowd": 0}
                for number, ((index, kind), box) in enumerate(rows, 1)
            ],
        }
    )
    results = [
        {"image_id": index, "category_id": int(kind), "bbox": [x1, y1, x2 - x1, y2 - y1], "score": score}
        for index, found in enumerate(predictions)
        for x1, y1, x2, y2, score, kind in found.astype(np.float64).tolist()
    ]
    evaluation = COCOeval_faster(truth, truth.loadRes(results), iouType="bbox")
    evaluation.evaluate()
    evaluation.accumulate()
    return np.asarray(evaluation.eval["precision"][..., 0, -1])


def random_case(seed: int, *, n_images: int, n_found: int) -> tuple[Predictions, Images]:
    """Return detections around the boxes of 100 x 200 images, on a coarse grid so that scores and overlaps tie."""
    rng = np.random.default_rng(seed)
    n_boxes = rng.integers(0, 12, n_images)
    of_image = np.repeat(np.arange(n_images), n_boxes)
    low, side = rng.integers(0, 6, (len(of_image), 2)) / 10, rng.integers(1, 5, (len(of_image), 2)) / 10
    kinds = rng.choice([0, 2, 5], len(of_image))
    boxes = np.column_stack([of_image, kinds, low + side / 2, side]).astype(np.float32).reshape(-1, 6)
    predictions = []
    for _ in range(n_images):
        corner, extent = rng.integers(0, 7, (n_found, 2)) * [20, 10], rng.integers(0, 5, (n_found, 2)) * [20, 10]
        rest = np.column_stack([rng.integers(1, 40, n_found) / 40, rng.choice([0, 1, 2, 5], n_found)])
        predictions.append(np.hstack([corner, corner + extent, rest]).astype(np.float32))
    pixels, shapes = np.zeros((n_images, 3, 32, 32), np.uint8), np.tile([100, 200], (n_images, 1))
    return predictions, Images(pixels, shapes, np.ones((n_images, 2)), np.zeros((n_images, 2), np.int64), boxes)


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), n_images=st.integers(1, 8), n_found=st.sampled_from([1, 12, 60, 500]))
def test_table_is_that_of_faster_coco_eval(seed: int, n_images: int, n_found: int) -> None:
    predictions, images = random_case(seed, n_images=n_images, n_found=n_found)
    if len(images.boxes):
        expected = faster_coco_eval(predictions, images)
        np.testing.assert_allclose(precision_table(predictions, images), expected, rtol=0, atol=1e-9)


def test_only_the_best_hundred_of_a_class_in_an_image_count() -> None:
    predictions, images = random_case(1, n_images=2, n_found=0)
    x, y, width, height = (images.boxes[0, 2:] * np.array([200, 100, 200, 100])).tolist()
    right = [x - width / 2, y - height / 2, x + width / 2, y + height / 2, 0.1, images.boxes[0, 1]]
    wrong = [[150.0, 90, 151, 91, 0.5, images.boxes[0, 1]]]
    seen = [np.array([*wrong * 99, right], np.float32), predictions[1]]
    unseen = [np.array([*wrong * 100, right], np.float32), predictions[1]]
    assert precision_table(seen, images).max() == pytest.approx(1 / 100)
    assert precision_table(unseen, images).max() == 0


def test_boxes_turned_inside_out_are_ignored_as_coco_does() -> None:
    predictions, images = random_case(2, n_images=3, n_found=30)
    predictions[0][::3, 2] -= 500
    expected = faster_coco_eval(predictions, images)
    np.testing.assert_allclose(precision_table(predictions, images), expected, rtol=0, atol=1e-9)


@pytest.mark.skipif("REAL_DATA" not in os.environ, reason="needs the shared weights and data")
@pytest.mark.parametrize(
    ("weights", "data", "imgsz"), [("bccd_yolov5nu_320", "bccd", 320), ("coco_yolov8n", "coco128", 640)]
)
def test_table_of_real_detections_is_that_of_faster_coco_eval(weights: str, data: str, imgsz: int) -> None:
    root = Path(os.environ["REAL_DATA"])
    images = load_images(load_dataset(root / "data" / data / "data.yaml").val[:16], imgsz=imgsz)
    found = list(predict(YOLO(root / "weights" / f"{weights}.pt").model.float(), images))
    expected = faster_coco_eval(found, images)
    assert expected.mean() > 0.3
    np.testing.assert_allclose(precision_table(found, images), expected, rtol=0, atol=1e-9)
