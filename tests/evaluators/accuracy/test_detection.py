import io
import itertools
import os
import time
from collections.abc import Callable
from contextlib import redirect_stdout
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from ultralytics import YOLO
from ultralytics.cfg import get_cfg
from ultralytics.nn.tasks import DetectionModel
from ultralytics.utils.nms import non_max_suppression

from evaluators.accuracy.detection import coco_map, detections, predict, score, task_loss
from evaluators.data.dataset import load_dataset
from evaluators.data.digits import render_digits
from evaluators.data.images import Images, load_images
from spaces.detectors.yolov5.loss import AnchorLoss
from tests.spaces.detectors.yolov5.tiny import tiny


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Images:
    """Return 12 scenes of digits at 96 pixels."""
    path = render_digits(tmp_path_factory.mktemp("digits"), n_train=12, n_val=2)
    return load_images(load_dataset(path).train, imgsz=96)


@pytest.fixture(scope="module")
def model() -> DetectionModel:
    return untrained("yolov5n.yaml")


def untrained(name: str) -> DetectionModel:
    torch.manual_seed(0)
    return DetectionModel(name, nc=10, verbose=False)


def blank(n_images: int, boxes: list[list[float]], shape: tuple[int, int] = (100, 200)) -> Images:
    """Return images of `shape` without content, letterboxed to 64 pixels, with `boxes` of 6 columns."""
    gain = 64 / max(shape)
    pads = [(64 - shape[1] * gain) / 2, (64 - shape[0] * gain) / 2]
    return Images(
        np.zeros((n_images, 3, 64, 64), np.uint8),
        np.tile(np.array(shape), (n_images, 1)),
        np.full((n_images, 2), gain),
        np.tile(np.array(pads), (n_images, 1)).astype(np.int64),
        np.array(boxes, np.float32).reshape(-1, 6),
    )


def random_case(seed: int) -> tuple[list[NDArray[np.float32]], Images]:
    """Return predictions near the boxes of random images and some that are far; class 2 has no box in truth."""
    rng = np.random.default_rng(seed)
    boxes, predictions = [], []
    for index in range(8):
        centres, sizes = rng.uniform(0.3, 0.7, (6, 2)), rng.uniform(0.02, 0.5, (6, 2))
        kinds = rng.choice([0, 1, 3], 6).astype(float)
        boxes += np.column_stack([np.full(6, index), kinds, centres, sizes]).tolist()
        corners = np.hstack([centres - sizes / 2, centres + sizes / 2]) * np.array([200, 100, 200, 100])
        near = corners + rng.normal(0, 2, corners.shape)
        far = np.hstack([rng.uniform(0, 50, (4, 2)), rng.uniform(51, 100, (4, 2))])
        kinds = np.concatenate([np.where(rng.random(6) < 0.2, 2, kinds), rng.integers(0, 4, 4)])
        scores = rng.integers(1, 20, 10) / 20  # with ties
        predictions.append(np.column_stack([np.vstack([near, far]), scores, kinds]).astype(np.float32))
    return predictions, blank(8, boxes)


def pycocotools_stats(predictions: list[NDArray[np.float32]], images: Images) -> NDArray[np.float64]:
    """Return the 12 numbers of the reference implementation."""
    truth = COCO()
    truth.dataset = {
        "images": [{"id": index} for index in range(len(images))],
        "categories": [{"id": kind} for kind in range(4)],
        "annotations": [
            {"id": number + 1, "image_id": int(row[0]), "category_id": int(row[1]), "iscrowd": 0}
            | {"bbox": [(x - w / 2) * 200, (y - h / 2) * 100, w * 200, h * 100], "area": w * 200 * h * 100}
            for number, row in enumerate(images.boxes)
            for x, y, w, h in [row[2:].astype(float).tolist()]
        ],
    }
    results = [
        {"image_id": index, "category_id": int(kind), "bbox": [x1, y1, x2 - x1, y2 - y1], "score": confidence}
        for index, found in enumerate(predictions)
        for x1, y1, x2, y2, confidence, kind in found.astype(float).tolist()
    ]
    with redirect_stdout(io.StringIO()):
        truth.createIndex()
        evaluation = COCOeval(truth, truth.loadRes(results), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return np.asarray(evaluation.stats)


@pytest.mark.parametrize("seed", range(4))
def test_map_is_that_of_pycocotools(seed: int, capfd: pytest.CaptureFixture[str]) -> None:
    predictions, images = random_case(seed)
    found = coco_map(predictions, images)
    expected = pycocotools_stats(predictions, images)
    assert 0.05 < found.map50_95 < 0.95
    np.testing.assert_allclose((found.map50_95, found.map50, found.map75), expected[:3], rtol=0, atol=1e-9)
    assert capfd.readouterr().out == ""


def test_class_without_boxes_is_left_out_of_the_mean() -> None:
    predictions, images = random_case(0)
    found = coco_map(predictions, images)
    assert list(found.per_class) == [0, 1, 3]
    assert found.map50_95 == pytest.approx(sum(found.per_class.values()) / 3, abs=1e-12)


def test_the_boxes_themselves_score_one_and_nothing_scores_zero() -> None:
    images = blank(2, [[0, 0, 0.5, 0.5, 0.5, 0.5], [1, 1, 0.25, 0.5, 0.5, 1]])
    exact = [np.array([[50, 25, 150, 75, 0.9, 0]], np.float32), np.array([[0, 0, 100, 100, 0.8, 1]], np.float32)]
    perfect, empty = coco_map(exact, images), coco_map([np.zeros((0, 6), np.float32)] * 2, images)
    assert (perfect.map50_95, perfect.map50, perfect.map75) == pytest.approx((1, 1, 1))
    assert (empty.map50_95, empty.map50, empty.map75, empty.per_class) == (0, 0, 0, {0: 0, 1: 0})


def test_map_without_any_box_does_not_exist() -> None:
    with pytest.raises(ValueError, match="at least one box"):
        coco_map([np.zeros((0, 6), np.float32)], blank(1, []))


def test_detections_are_in_original_pixels_and_inside_the_image() -> None:
    # 100 x 200 shrinks by 0.32 to 32 x 64, with 16 rows of grey above and below
    boxes = torch.tensor([[32.0, 32, 32, 16], [0, 16, 8, 8]])  # the middle; around the upper left corner
    outputs = torch.cat([boxes, torch.tensor([[0.9, 0.0], [0.0, 0.8]])], 1).T[None]  # (1, 4 + 2, 2)
    (found,) = detections(outputs, blank(1, []))
    expected = [[50, 25, 150, 75, 0.9, 0], [0, 0, 12.5, 12.5, 0.8, 1]]
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_end_to_end_outputs_pass_without_nms() -> None:
    rows = torch.tensor([[16.0, 24, 48, 40, 0.9, 1], [16, 24, 48, 40, 0.8, 1], [0, 0, 0, 0, 0, 0]])
    (found,) = detections(rows[None], blank(1, []))
    np.testing.assert_allclose(found, [[50, 25, 150, 75, 0.9, 1], [50, 25, 150, 75, 0.8, 1]], rtol=1e-6)


def crowd(n_boxes: int, *, spread: float) -> torch.Tensor:
    """Return decoded outputs (2, 4 + 3, n_boxes), the boxes around 5 places and `spread` pixels apart."""
    rng = np.random.default_rng(0)
    centres = rng.uniform(10, 54, (2, 2, 5))[:, :, rng.integers(0, 5, n_boxes)] + rng.normal(0, spread, (2, 2, n_boxes))
    sizes = np.full((2, 2, n_boxes), 8.0)
    scores = rng.permutation(2 * 3 * n_boxes).reshape(2, 3, n_boxes) / (6 * n_boxes)  # all different
    return torch.from_numpy(np.concatenate([centres, sizes, scores], 1).astype(np.float32))


@pytest.mark.parametrize("spread", [0.1, 1.0, 20.0])  # NMS keeps a few, some, and more than 300 of the first 1000
def test_detections_are_those_of_nms_over_all_boxes(spread: float) -> None:
    outputs, images = crowd(2000, spread=spread), blank(2, [], shape=(64, 64))
    plain = non_max_suppression(outputs, 0.001, 0.7, multi_label=True, max_det=300, max_time_img=100)
    for found, expected in zip(detections(outputs, images), plain, strict=True):
        np.testing.assert_allclose(found[:, 4:], expected[:, 4:], rtol=0, atol=0)
        np.testing.assert_allclose(found[:, :4], expected[:, :4].clamp(0, 64), atol=1e-4)


def test_slow_machine_loses_no_detections(monkeypatch: pytest.MonkeyPatch) -> None:
    outputs, images = crowd(50, spread=1.0), blank(2, [], shape=(64, 64))
    expected = detections(outputs, images)
    hours = itertools.count(step=3600)
    monkeypatch.setattr(time, "time", lambda: float(next(hours)))
    found = detections(outputs, images)
    assert [len(boxes) for boxes in found] == [len(boxes) for boxes in expected]
    assert min(map(len, found)) > 0


def test_outputs_that_are_not_finite_are_an_error() -> None:
    outputs = crowd(5, spread=1.0)
    outputs[0, 5, 0] = torch.nan
    with pytest.raises(ValueError, match="finite"):
        detections(outputs, blank(2, []))


def test_score_gives_mean_precision_and_loss_from_one_pass(model: DetectionModel, images: Images) -> None:
    passes: list[int] = []
    handle = model.register_forward_hook(lambda *_: passes.append(1))
    readings = score(model, images, batch=4)
    handle.remove()
    assert len(passes) == 3
    assert readings["loss"] == pytest.approx(task_loss(model, images, batch=4))
    found = coco_map(predict(model, images, batch=4), images)
    assert (readings["map50_95"], readings["map50"]) == (found.map50_95, found.map50)


def test_task_loss_is_that_of_ultralytics(model: DetectionModel, images: Images) -> None:
    twin = untrained("yolov5n.yaml").eval()
    twin.args = get_cfg()
    with torch.no_grad():
        expected = twin.loss({"img": images.tensor(), **images.targets()})[0].sum() / len(images)
    assert task_loss(model, images, batch=len(images)) == pytest.approx(float(expected))


@pytest.mark.parametrize("measure", [predict, task_loss, score])
def test_measuring_leaves_the_model_as_it_was(measure: Callable[..., object], images: Images) -> None:
    model = untrained("yolov5n.yaml").train()
    model.model[1].eval()  # a frozen layer stays frozen
    state = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    modes = [module.training for module in model.modules()]
    names = set(vars(model))
    measure(model, images)
    assert [module.training for module in model.modules()] == modes
    assert set(vars(model)) == names
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, state[name]), name


def test_failing_measurement_leaves_the_mode_as_it_was(images: Images) -> None:
    model = untrained("yolov5n.yaml").train()
    with torch.no_grad():
        next(model.parameters()).fill_(torch.nan)
    with pytest.raises(ValueError, match="finite"):
        score(model, images)
    with pytest.raises(ValueError, match="finite"):
        task_loss(model, images)
    assert all(module.training for module in model.modules())
    assert torch.is_grad_enabled()


@pytest.mark.parametrize("name", ["yolov8n.yaml", "yolov10n.yaml", "yolo11n.yaml"])
def test_other_families_are_scored(name: str, images: Images) -> None:
    readings = score(untrained(name), images)
    assert set(readings) == {"map50_95", "map50", "loss"}
    assert readings["loss"] > 0


@pytest.mark.skipif("REAL_DATA" not in os.environ, reason="needs the shared weights and data")
def test_trained_detector_scores_near_what_ultralytics_reports() -> None:
    dataset = load_dataset(Path(os.environ["REAL_DATA"]) / "data/bccd/data.yaml")
    model = YOLO(Path(os.environ["REAL_DATA"]) / "weights/bccd_yolov5nu_320.pt").model.float()
    readings = score(model, load_images(dataset.val, imgsz=320))
    assert readings["map50_95"] == pytest.approx(0.508, abs=0.01)  # theirs: rectangular batches, another interpolation


@torch.no_grad()
def test_an_anchor_based_detector_is_scored_by_its_own_loss() -> None:
    images, model = blank(2, [[0, 1, 0.5, 0.5, 0.3, 0.6]]), tiny("yolov5n")
    expected = float(AnchorLoss(model.head)(model(images.tensor()), images.targets())[0].sum()) / 2
    assert score(model, images)["loss"] == task_loss(model, images) == pytest.approx(expected, rel=1e-4)
