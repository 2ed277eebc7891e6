import copy
import json
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from ultralytics.nn.tasks import DetectionModel

from spaces.candidate import Candidate
from spaces.channels.graph import ChannelGraph
from spaces.channels.trace import trace_channels
from spaces.cutting.probe import TOLERANCE, cut_error, probe
from spaces.cutting.subnet import choose_channels, install, slice_tensors
from spaces.detectors.backbones.swap import Backbone, find_places, swap_backbone
from spaces.detectors.backbones.trunks import TRUNKS
from spaces.detectors.detector import load_detector, save_detector
from spaces.errors import BadInput
from spaces.importance.from_weights import l1
from tests.spaces.untrained import detector

ROOT = Path(__file__).resolve().parents[4]
FAMILIES = ("yolov5n", "yolov8n", "yolov10n", "yolo11n", "yolo26n")
SAME = Candidate("same", ())


@cache
def digits() -> DetectionModel:
    """Return the embedded parent."""
    return load_detector(ROOT / "spaces" / "parents" / "digits-yolov5n")[0]


@cache
def graph_of(name: str) -> ChannelGraph:
    """Return the sound channel graph of the embedded parent with the backbone `name`."""
    model = swap_backbone(digits(), name)
    return probe(model, trace_channels(model, imgsz=64), rng=np.random.default_rng(0))


def assert_kept(swapped: DetectionModel, parent: DetectionModel, *, after: int) -> None:
    """Make sure that every tensor of the layers after layer `after` is the parent's, by the same name."""

    def late(model: DetectionModel) -> dict[str, torch.Tensor]:
        return {name: value for name, value in model.state_dict().items() if int(name.split(".")[1]) > after}

    ours, theirs = late(swapped), late(parent)
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], value) for name, value in theirs.items())


@pytest.mark.parametrize("name", TRUNKS)
def test_every_backbone_makes_features_of_the_shapes_that_the_neck_was_trained_on(name: str) -> None:
    parent = digits()
    swapped = swap_backbone(parent, name)
    images = torch.rand(2, 3, 96, 64)
    with torch.no_grad():
        made, wanted = Backbone(swapped)(images), Backbone(parent)(images)
        assert swapped(images)[0].shape == parent(images)[0].shape
    assert [feature.shape for feature in made] == [feature.shape for feature in wanted]
    assert [96 // feature.shape[2] for feature in made] == [8, 16, 32]
    assert_kept(swapped, parent, after=8)  # 9 is the pooling at the end of the backbone


@pytest.mark.parametrize("backbone", ["ghostnet", "shufflenetv2"])
@pytest.mark.parametrize("family", FAMILIES)
def test_a_swapped_detector_of_any_family_is_saved_and_loaded_without_its_parent(
    family: str, backbone: str, tmp_path: Path
) -> None:
    parent = detector(family)
    swapped = swap_backbone(parent, backbone)
    assert_kept(swapped, parent, after=8)
    save_detector(swapped, tmp_path, candidate=SAME)
    loaded, architecture = load_detector(tmp_path)
    assert architecture.yaml["backbone_name"] == backbone
    image = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        assert torch.equal(loaded(image)[0], swapped(image)[0])
    assert {name: value.shape for name, value in loaded.state_dict().items()} == {
        name: value.shape for name, value in swapped.state_dict().items()
    }


def test_features_that_the_neck_reads_are_those_of_the_forward_pass() -> None:
    model = detector("yolo11n")
    assert find_places(model) == ((4, 6, 10), 8)  # C3k2, C3k2 and, after SPPF, C2PSA in yolo11.yaml; 8 is a C3k2
    seen = {}
    for index in (4, 6, 10):
        model.model[index].register_forward_hook(lambda _, __, output, index=index: seen.update({index: output}))
    image = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        model(image)
        whole = dict(seen)
        parts = Backbone(model)(image)
    for index in (4, 6, 10):
        model.model[index]._forward_hooks.clear()
    assert all(torch.equal(part, whole[index]) for part, index in zip(parts, (4, 6, 10), strict=True))


def test_weights_depend_on_the_seed_alone_and_the_parent_stays_as_it_is() -> None:
    before = {name: value.clone() for name, value in digits().state_dict().items()}
    torch.manual_seed(1)
    first = swap_backbone(digits(), "lcnet", seed=5).state_dict()
    state = torch.get_rng_state()
    second = swap_backbone(digits(), "lcnet", seed=5).state_dict()
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(value, second[name]) for name, value in first.items())
    other = swap_backbone(digits(), "lcnet", seed=6).state_dict()
    assert not torch.equal(first["model.3.0.weight"], other["model.3.0.weight"])
    assert "backbone_name" not in digits().yaml
    assert all(torch.equal(value, before[name]) for name, value in digits().state_dict().items())


def test_a_swapped_backbone_can_be_swapped_again() -> None:
    twice = swap_backbone(swap_backbone(digits(), "lcnet"), "mobilenetv3_small").state_dict()
    once = swap_backbone(digits(), "mobilenetv3_small").state_dict()
    assert twice.keys() == once.keys()
    assert all(torch.equal(value, once[name]) for name, value in twice.items())


def halved(model: DetectionModel, graph: ChannelGraph) -> DetectionModel:
    """Return `model` with half of every block."""
    keep = np.array([max(1, block.size // 2) for block in graph.blocks])
    tensors = model.state_dict()
    cut = install(model, slice_tensors(tensors, graph, choose_channels(graph, l1(tensors, graph), keep)))
    assert isinstance(cut, DetectionModel)
    return cut


def test_a_cut_parent_takes_a_backbone_too(tmp_path: Path) -> None:
    graph = probe(digits(), trace_channels(digits(), imgsz=64), rng=np.random.default_rng(0))
    cut = halved(digits(), graph)
    swapped = swap_backbone(cut, "mobilenetv3_small")
    assert swapped.model[4].conv.out_channels == cut.model[4].cv3.conv.out_channels < 64  # yolov5n has 64 there
    save_detector(swapped, tmp_path, candidate=SAME)
    image = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        assert torch.equal(load_detector(tmp_path)[0](image)[0], swapped(image)[0])


@pytest.mark.parametrize("name", ["mobilenetv3_small", "lcnet"])
def test_a_swapped_detector_is_cut_exactly_and_saved(name: str, tmp_path: Path) -> None:
    model, graph = swap_backbone(digits(), name), graph_of(name)
    inside = [block for block in graph.blocks if int(block.name.split(".")[0]) in (3, 5, 7)]
    assert inside, "the backbone itself must have blocks"
    assert cut_error(model, graph, np.array([max(1, block.size // 2) for block in graph.blocks])) <= TOLERANCE
    cut = halved(model, graph)
    save_detector(cut, tmp_path, candidate=SAME)
    image = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        assert torch.equal(load_detector(tmp_path)[0](image)[0], cut(image)[0])


@pytest.mark.parametrize("name", ["mobilenetv3_small", "shufflenetv2"])
def test_a_cut_swapped_detector_takes_a_training_step(name: str) -> None:
    model = halved(swap_backbone(digits(), name), graph_of(name)).train()
    targets = {
        "batch_idx": torch.tensor([0.0, 1.0]),
        "cls": torch.tensor([[1.0], [2.0]]),
        "bboxes": torch.tensor([[0.5, 0.5, 0.4, 0.4], [0.3, 0.6, 0.2, 0.3]]),
    }
    loss = model.init_criterion()(model(torch.rand(2, 3, 64, 64)), targets)[0].sum()
    loss.backward()
    first = model.model[3][0].weight if name == "mobilenetv3_small" else model.model[3][0][0].weight
    assert loss.isfinite()
    assert first.grad.isfinite().all()
    assert first.grad.abs().sum() > 0  # the gradient reaches the first layer of the backbone


@pytest.mark.parametrize(("family", "strides"), [("yolov5n-p6", "8, 16, 32, 64"), ("yolov8n-p2", "4, 8, 16, 32")])
def test_a_neck_that_reads_other_strides_is_refused(family: str, strides: str) -> None:
    with pytest.raises(BadInput, match=rf"this one reads \[{strides}\]"):
        swap_backbone(detector(family), "lcnet")


@pytest.mark.parametrize("value", ["timm.models.ghostnet", "resnet18", ["ghostnet"], 5, None])
def test_an_architecture_with_an_unknown_backbone_is_refused(value: object, tmp_path: Path) -> None:
    save_detector(digits(), tmp_path, candidate=SAME)
    path = tmp_path / "architecture.json"
    record = copy.deepcopy(json.loads(path.read_text()))
    record["yaml"]["backbone_name"] = value
    path.write_text(json.dumps(record))
    with pytest.raises(BadInput, match="backbones must be some of"):
        load_detector(tmp_path)
