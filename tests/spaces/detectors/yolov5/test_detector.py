import copy
import math
from functools import cache
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from torch import nn

from evaluators.accuracy.suppression import suppress
from evaluators.runtimes.onnx_export import export_onnx
from leaderboards.benchmarks.cuts.structures import work
from spaces.channels.graph import ChannelGraph
from spaces.channels.trace import trace_channels
from spaces.cutting.probe import cut_error, probe
from spaces.cutting.subnet import choose_channels, install, slice_tensors
from spaces.detectors.yolov5.attention import CBAM
from spaces.detectors.yolov5.detector import SPECS, AnchorDetector, build, load_spec
from spaces.importance.from_weights import l1
from spaces.space import Space
from tests.spaces.detectors.yolov5.tiny import tiny, tiny_spec

STRUCTURES = [name for name, (file, scale) in SPECS.items() if file != "yolov5" or scale == "n"]  # one for each file
IMAGES = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))


def batch() -> dict[str, torch.Tensor]:
    """Return the labels of three objects, two in the first image and one in the second."""
    return {
        "batch_idx": torch.tensor([0.0, 0.0, 1.0]),
        "cls": torch.tensor([[0.0], [2.0], [1.0]]),
        "bboxes": torch.tensor([[0.5, 0.5, 0.3, 0.4], [0.2, 0.3, 0.1, 0.1], [0.7, 0.6, 0.5, 0.5]]),
    }


def shallow(name: str) -> AnchorDetector:
    """Return the tiny network called `name` with each layer once."""
    return tiny(name, depth=0.1)


@cache
def probed(name: str) -> ChannelGraph:
    return probe(shallow(name), trace_channels(shallow(name), imgsz=64), rng=np.random.default_rng(0))


@pytest.mark.parametrize("name", STRUCTURES)
def test_every_structure_predicts_and_takes_a_training_step(name: str) -> None:
    model = copy.deepcopy(shallow(name))
    n_anchors = model.head.na * sum((64 // int(stride)) ** 2 for stride in model.stride)
    with torch.no_grad():
        decoded, raw = model(IMAGES)
    assert decoded.shape == (2, 4 + 3, n_anchors)
    assert raw["boxes"].shape == (2, 4, n_anchors)
    assert all(found.shape[1] == 6 for found in suppress(decoded))
    loss, parts = model.init_criterion()(model.train()(IMAGES), batch())
    loss.sum().backward()
    assert parts.isfinite().all()
    torch.optim.SGD(model.parameters(), 0.01).step()
    moved = sum(not torch.equal(a, b) for a, b in zip(model.parameters(), shallow(name).parameters(), strict=True))
    assert moved >= 0.9 * len(list(model.parameters()))  # a matched level may be missing
    assert all(parameter.isfinite().all() for parameter in model.parameters())


@pytest.mark.parametrize("name", STRUCTURES)
def test_every_structure_is_cut_exactly_and_costs_what_its_space_says(name: str) -> None:
    model = shallow(name)
    graph = probed(name)
    keep = np.array([max(1, block.size // 2) for block in graph.blocks])
    assert cut_error(model, graph, keep) < 1e-4
    tensors = slice_tensors(model.state_dict(), graph, choose_channels(graph, l1(model.state_dict(), graph), keep))
    cut = install(model, tensors)
    space = Space(graph, align=1, keep_min=0.01)
    costs = {cost: values[0] for cost, values in space.population_costs(keep[None]).items()}
    assert costs["params_m"] * 1e6 == pytest.approx(sum(parameter.numel() for parameter in cut.parameters()))
    if graph.other_macs == 0:
        assert costs["macs_g"] * 1e9 == pytest.approx(work(cut.to("meta"), imgsz=64).macs)


CUT_WHOLLY = [name for name in STRUCTURES if name not in ("yolov5xP2-CBAM", "yolov5x-TPH", "yolov5x-Swin")]


@pytest.mark.parametrize("name", CUT_WHOLLY)
def test_gates_ghosts_and_shuffles_leave_nothing_whole_but_the_head(name: str) -> None:
    whole = probed(name).kept_whole
    head = str(len(shallow(name).model) - 1)
    assert {layer.split(".")[0] for layer in whole} == {head}


@pytest.mark.parametrize(
    ("name", "attention"), [("yolov5xP2-CBAM", set()), ("yolov5x-TPH", {"8.cv1"}), ("yolov5x-Swin", {"8.cv1"})]
)
def test_what_attention_mixes_is_whole_and_what_lies_beside_it_is_not(name: str, attention: set[str]) -> None:
    graph = probed(name)
    mixing = [str(layer.i) for layer in shallow(name).model if isinstance(layer, CBAM)]
    assert all(f"{index}.places" in graph.kept_whole for index in mixing)  # the place's own gate
    assert attention <= set(graph.kept_whole)
    blocks = {block.name for block in graph.blocks}
    assert "8.cv2" in blocks or not attention


def test_shuffled_stages_keep_one_width() -> None:
    """Of 32 channels of the middle stage, halved by each unit that splits them: 16 after the first, 8 after both."""
    model = tiny("yolov5l-shufflenetv2", depth=0.3)  # 1 and 2 repeats
    assert [len(layer) if isinstance(layer, nn.Sequential) else 1 for layer in model.model[1:5]] == [1, 1, 1, 2]
    graph = probe(model, trace_channels(model, imgsz=64), rng=np.random.default_rng(0))
    stage = {block.name: block for block in graph.blocks}["3.other.1"]
    assert (stage.size, stage.parts) == (4, 1)
    mine = [block.name for block in graph.blocks].index("3.other.1")
    for tensor in ("3.branch.2", "4.0.branch.2", "4.1.branch.2"):
        axis = graph.axes[f"model.{tensor}.conv.weight", 0]
        assert (axis.blocks == mine).all()
        assert set(axis.atoms.tolist()) == set(range(4))


def test_tensors_are_named_as_in_the_files_of_the_yolov5_repository() -> None:
    names = set(shallow("yolov5n").state_dict())
    assert {"model.0.conv.weight", "model.9.cv1.conv.weight", "model.24.m.0.weight", "model.24.anchors"} <= names
    assert "model.4.m.0.cv2.bn.running_var" in names


def test_batchnorm_is_yolov5s() -> None:
    layers = [layer for layer in shallow("yolov5l-ghostnet").modules() if isinstance(layer, nn.BatchNorm2d)]
    assert {(layer.eps, layer.momentum) for layer in layers} == {(1e-3, 0.03)}


def test_the_head_expects_8_objects_in_an_image_and_six_tenths_of_a_class() -> None:
    torch.manual_seed(0)
    model = AnchorDetector(tiny_spec("yolov5n"))
    for layer, side in zip(model.head.m, (80, 40, 20), strict=True):  # places along a side of 640 pixels
        assert isinstance(layer, nn.Conv2d)
        assert layer.bias is not None
        spread = layer.in_channels**-0.5  # of what torch draws a bias from
        biases = layer.bias.detach().view(3, 8)
        assert (biases[:, 4] - math.log(8 / side**2)).abs().max() <= spread
        assert (biases[:, 5:] - math.log(0.6 / 2.000001)).abs().max() <= spread
        assert biases[:, :4].abs().max() <= spread


def test_anchors_are_in_units_of_the_stride() -> None:
    model = shallow("yolov5n")
    assert model.stride.tolist() == [8, 16, 32]
    assert model.head.anchors[1, 2].tolist() == [59 / 16, 119 / 16]


def test_a_built_detector_has_what_others_ask_it_for() -> None:
    model = build("yolov5n", n_classes=2)
    assert isinstance(model.names, dict)
    assert model.names == {0: "0", 1: "1"}
    assert model.yaml == load_spec("yolov5n", n_classes=2)
    assert model.training
    assert not model.end2end


@pytest.mark.parametrize("name", ["yolov5l-shufflenetv2", "yolov5x-TPH", "yolov5x-Swin"])
def test_the_onnx_file_computes_the_same(name: str, tmp_path: Path) -> None:
    path = export_onnx(shallow(name), tmp_path / "tiny.onnx", imgsz=64)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    made = torch.from_numpy(session.run(None, {"images": IMAGES[:1].numpy()})[0])
    with torch.no_grad():
        expected = shallow(name)(IMAGES[:1])[0]
    assert (made - expected).abs().max() <= 1e-4 * expected.abs().max()
