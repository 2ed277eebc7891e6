import os
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from ultralytics import YOLO
from ultralytics.nn.tasks import DetectionModel
from ultralytics.utils.nms import non_max_suppression

from evaluators.accuracy.suppression import MAX_DETECTIONS, suppress
from evaluators.data.dataset import load_dataset
from evaluators.data.images import load_images


def ultralytics(outputs: Tensor) -> list[Tensor]:
    """Return what Ultralytics' NMS keeps when it looks at 30,000 boxes an image at once."""
    kept = non_max_suppression(outputs, 0.001, 0.7, multi_label=True, max_det=300, max_nms=30_000, max_time_img=1e9)
    return list(kept)


def random_outputs(seed: int, *, n_classes: int, n_anchors: int, spread: float) -> Tensor:
    """Return decoded outputs (3, 4 + classes, anchors) around 6 places, with many ties, the last image empty."""
    rng = np.random.default_rng(seed)
    places = rng.uniform(40, 280, (3, 2, 6))[:, :, rng.integers(0, 6, n_anchors)]
    centres = places + rng.normal(0, spread, places.shape)
    sizes = rng.uniform(10, 60, (3, 2, n_anchors))
    scores = rng.integers(0, 2000, (3, n_classes, n_anchors)) / 20_000  # one in 100 is not above 0.001
    scores[2] = 0.0005
    return torch.from_numpy(np.concatenate([centres, sizes, scores], 1).astype(np.float32))


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    n_classes=st.sampled_from([1, 3, 80]),
    n_anchors=st.sampled_from([1, 20, 60]),
    spread=st.sampled_from([0.5, 5.0, 100.0]),
)
def test_boxes_are_exactly_those_of_ultralytics(seed: int, n_classes: int, n_anchors: int, spread: float) -> None:
    outputs = random_outputs(seed, n_classes=n_classes, n_anchors=n_anchors, spread=spread)
    for found, expected in zip(suppress(outputs), ultralytics(outputs), strict=True):
        assert torch.equal(found, expected)


def test_thirty_thousand_boxes_of_one_place_leave_no_room_for_lower_ones() -> None:
    outputs = random_outputs(0, n_classes=2, n_anchors=20_000, spread=0.1)
    outputs[:2, 2:4] = 30.0
    scores = torch.randperm(40_000, generator=torch.Generator().manual_seed(0)).reshape(2, 20_000)
    outputs[:2, 4:] = 0.01 + scores / 50_000  # all different: Ultralytics breaks ties anyhow when it has too many
    outputs[:2, :2, -1], outputs[:2, 4:, -1] = 200.0, 0.002  # alone in its place, but beyond the 30,000 best
    for found, expected in zip(suppress(outputs), ultralytics(outputs), strict=True):
        assert torch.equal(found, expected)
    assert 0.002 not in suppress(outputs)[0][:, 4]


def test_a_crowd_is_cut_at_the_most_detections() -> None:
    outputs = random_outputs(1, n_classes=3, n_anchors=5000, spread=100.0)
    found = suppress(outputs)
    assert [len(boxes) for boxes in found] == [MAX_DETECTIONS, MAX_DETECTIONS, 0]
    assert torch.equal(found[0], ultralytics(outputs)[0])


@pytest.mark.skipif("REAL_DATA" not in os.environ, reason="needs the shared weights and data")
@pytest.mark.parametrize(
    ("weights", "data", "imgsz"), [("bccd_yolov5nu_320", "bccd", 320), ("coco_yolov8n", "coco128", 640)]
)
def test_real_outputs_of_a_damaged_detector_too(weights: str, data: str, imgsz: int) -> None:
    root = Path(os.environ["REAL_DATA"])
    images = load_images(load_dataset(root / "data" / data / "data.yaml").val[:6], imgsz=imgsz)
    model = YOLO(root / "weights" / f"{weights}.pt").model.float().eval()
    assert isinstance(model, DetectionModel)
    for noise in (0.0, 0.1):  # a detector that sees little makes many boxes of low score
        with torch.no_grad():
            for parameter in model.parameters():
                parameter += noise * parameter.std() * torch.randn_like(parameter) if parameter.numel() > 1 else 0
            outputs = model(images.tensor())[0]
        for found, expected in zip(suppress(outputs), ultralytics(outputs), strict=True):
            assert torch.equal(found, expected)
