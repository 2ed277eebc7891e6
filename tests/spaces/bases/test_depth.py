import copy
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from ultralytics.nn.tasks import DetectionModel

from leaderboards.benchmarks.cuts.networks import untrained
from spaces.bases.depth import (
    Repeat,
    drop_repeats,
    find_repeats,
    kernel_gamma_order,
    order_repeats,
    recover_dropped_,
    surviving_names,
)
from spaces.candidate import Candidate
from spaces.detectors.detector import load_detector, save_detector
from spaces.errors import BadInput
from spaces.recovery.calibration import calibrate_bn_
from tests.spaces.chain import all_places

IMAGES = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
N_REPEATS = {"yolov5n": 11, "yolov8n": 10, "yolov10n": 10, "yolo11n": 8, "yolo12n": 10, "yolo26n": 8}  # by their yaml


def decoded(model: nn.Module) -> Tensor:
    with torch.no_grad():
        outputs: Tensor = model(IMAGES)[0]
    return outputs


def bypassed(model: DetectionModel, repeat: Repeat) -> DetectionModel:
    """Return `model` with nothing for the shortcut of a C3's repeat to be added to: it then is the identity."""
    silent = copy.deepcopy(model)
    layer = silent.get_submodule(f"{repeat.name}.cv2")
    for tensor in (layer.bn.weight, layer.bn.bias):
        nn.init.zeros_(tensor)
    return silent


@pytest.mark.parametrize("name", N_REPEATS)
def test_every_repeat_of_every_family_can_go_and_the_rest_trains(name: str) -> None:
    model = untrained(name)
    repeats = find_repeats(model)
    assert len(repeats) == N_REPEATS[name]
    shallow = drop_repeats(model, repeats)
    assert decoded(shallow).shape == decoded(model).shape
    assert find_repeats(shallow) == ()
    raw = shallow.train()(IMAGES)
    scores = raw["one2many"]["scores"] if "one2many" in raw else raw["scores"]
    scores.sum().backward()
    assert all(weight.grad is None or weight.grad.isfinite().all() for weight in shallow.parameters())


def test_dropping_nothing_changes_nothing() -> None:
    model = untrained("yolov8n")
    assert torch.equal(decoded(drop_repeats(model, ())), decoded(model))


def test_a_repeat_with_a_shortcut_that_adds_nothing_is_not_missed() -> None:
    repeat = Repeat(6, 1)
    model = bypassed(untrained("yolov5n"), repeat)
    torch.testing.assert_close(decoded(drop_repeats(model, [repeat])), decoded(model), rtol=1e-4, atol=1e-3)
    assert order_repeats(model, IMAGES)[0] == repeat
    assert kernel_gamma_order(model)[0] == repeat


def test_of_a_concatenation_the_part_of_the_repeat_goes_and_no_other() -> None:
    # 4.cv2 of yolov8n reads two halves of cv1 and two repeats, 32 channels each: without the first one, 0-63 and 96-127
    model = untrained("yolov8n")
    shallow = drop_repeats(model, [Repeat(4, 0)])
    whole = model.state_dict()["model.4.cv2.conv.weight"]
    assert torch.equal(shallow.state_dict()["model.4.cv2.conv.weight"], whole[:, [*range(64), *range(96, 128)]])


def test_the_repeats_behind_it_move_up() -> None:
    names = surviving_names(untrained("yolov5n"), [Repeat(6, 0)])
    assert names["model.6.m.2.cv1.conv.weight"] == "model.6.m.1.cv1.conv.weight"
    assert names["model.4.m.1.cv1.conv.weight"] == "model.4.m.1.cv1.conv.weight"
    assert "model.6.m.0.cv1.conv.weight" not in names


def test_least_squares_brings_it_nearer_to_its_parent() -> None:
    model, dropped = untrained("yolov5n"), [Repeat(6, 1)]
    images = torch.rand(16, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    calibrate_bn_(model, [images])  # what recovery will do to the other one, too
    shallow = drop_repeats(model, dropped)
    before, own = distance(shallow, model, images), decoded(model)
    recover_dropped_(shallow, model, dropped, images=images, places=all_places(model, images))
    assert distance(shallow, model, images) < before / 2
    assert torch.equal(decoded(model), own)


def distance(model: DetectionModel, parent: DetectionModel, images: Tensor) -> float:
    """Return the squared distance of what the head reads."""
    with torch.no_grad():
        pairs = zip(model(images)[1]["feats"], parent(images)[1]["feats"], strict=True)
        return sum(float((a - b).square().mean()) for a, b in pairs)


def test_a_shallow_network_is_saved_and_loaded_without_its_parent(tmp_path: Path) -> None:
    model = untrained("yolo11n")
    shallow = drop_repeats(model, find_repeats(model)[:3])
    save_detector(shallow, tmp_path, candidate=Candidate("same-3", ()))
    torch.testing.assert_close(decoded(load_detector(tmp_path)[0]), decoded(shallow))


def test_what_cannot_be_left_out_is_named() -> None:
    with pytest.raises(BadInput, match=r"model\.5\.m\.0"):
        drop_repeats(untrained("yolov5n"), [Repeat(5, 0)])
    with pytest.raises(BadInput, match="not twice"):
        drop_repeats(untrained("yolov5n"), [Repeat(6, 0), Repeat(6, 0)])
