"""What is loaded computes what the layers in the file compute; here they may be unpickled, as we wrote them."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
import ultralytics
from torch import nn
from ultralytics.nn.modules.block import Bottleneck
from ultralytics.nn.modules.conv import Conv
from ultralytics.nn.tasks import DetectionModel

from spaces.build import Builder
from spaces.candidate import Candidate
from spaces.channels.trace import trace_channels
from spaces.cutting.probe import probe
from spaces.detectors.detector import load_detector, save_detector
from spaces.recovery.recovery import Recovery
from spaces.space import Space
from tests.spaces.detectors.files import Change, activate, changed_network, difference, each, random_network, write
from tests.spaces.untrained import study_without_images

OTHERS = ("-seg", "-cls", "-pose", "-obb", "-sem", "-depth", "world", "yoloe", "rtdetr")  # other tasks and classes
MODELS = Path(ultralytics.__file__).parent / "cfg" / "models"
DETECTORS = sorted(
    path.stem for path in MODELS.rglob("*.yaml") if not any(word in path.stem for word in OTHERS)
)  # each at its smallest scale
QUICK = ("yolov3-tiny", "yolov5", "yolov5-p6", "yolov6", "yolov8-p2", "yolov8-ghost", "yolov9t", "yolov10n", "yolo26")


def check_equal(path: Path, folder: Path) -> DetectionModel:
    """Make sure that what is loaded from `path`, and again from a folder of ours, equals what lies in the file."""
    record = torch.load(path, weights_only=False)
    stored = record if isinstance(record, nn.Module) else record["model"]
    loaded, _ = load_detector(path)
    assert difference(loaded, stored) <= 1e-5
    save_detector(loaded, folder, candidate=Candidate("same", ()))
    assert difference(load_detector(folder)[0], loaded) <= 1e-5
    return loaded


@pytest.mark.parametrize(
    "name", [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in DETECTORS]
)
def test_every_detector_of_ultralytics_is_loaded_as_it_is(name: str, tmp_path: Path) -> None:
    loaded = check_equal(write(random_network(name), tmp_path / "a.pt"), tmp_path / "folder")
    assert "departures" not in loaded.yaml


def test_all_detectors_of_ultralytics_are_tried() -> None:
    assert len(DETECTORS) >= 28
    assert set(QUICK) <= set(DETECTORS)


def own_slopes(model: DetectionModel) -> None:
    activate(nn.PReLU)(model)
    for layer in model.modules():
        if isinstance(layer, nn.PReLU):
            nn.init.uniform_(layer.weight, 0.05, 0.5)


def slopes_by_channel(model: DetectionModel) -> None:
    for layer in model.modules():
        if isinstance(layer, Conv) and isinstance(layer.act, nn.SiLU):
            layer.act = nn.PReLU(layer.conv.out_channels)
            nn.init.uniform_(layer.act.weight, 0.05, 0.5)


def one_slope(model: DetectionModel) -> None:
    act = nn.PReLU(init=0.4)
    activate(lambda: act)(model)


def dilate(model: DetectionModel) -> None:
    vars(model.model[2].m[0].cv1.conv).update(padding=(2, 2), dilation=(2, 2))


CHANGES: dict[str, tuple[str, Change]] = {
    "leaky relu": ("yolov5", activate(lambda: nn.LeakyReLU(0.1))),
    "relu6 in place": ("yolov8", activate(lambda: nn.ReLU6(inplace=True))),
    "hardswish in the backbone": ("yolov8", activate(nn.Hardswish, layers=range(5))),
    "hardtanh": ("yolov8", activate(lambda: nn.Hardtanh(-2.0, 3.0))),
    "gelu by tanh": ("yolov9t", activate(lambda: nn.GELU(approximate="tanh"))),
    "elu": ("yolov8-ghost", activate(lambda: nn.ELU(0.5))),
    "no activation in the neck": ("yolov8", activate(nn.Identity, layers=range(12, 16))),
    "a slope of its own for each layer": ("yolov8", own_slopes),
    "a slope for each channel": ("yolov8", slopes_by_channel),
    "one slope for all": ("yolov8", one_slope),
    "bilinear": ("yolov8", each(nn.Upsample, mode="bilinear", align_corners=True)),
    "bicubic": ("yolov5", each(nn.Upsample, mode="bicubic")),
    "smaller pooling": ("yolov5", each(nn.MaxPool2d, kernel_size=3, padding=1)),
    "no shortcuts": ("yolov8", each(Bottleneck, add=False)),
    "eps": ("yolov8", each(nn.BatchNorm2d, eps=0.1, momentum=0.5)),
    "dilation": ("yolov8", dilate),
}


@pytest.mark.parametrize("what", CHANGES)
def test_what_was_changed_in_code_is_carried_over(what: str, tmp_path: Path) -> None:
    name, change = CHANGES[what]
    changed = changed_network(name, change)
    assert difference(changed, random_network(name)) > 1e-3
    loaded = check_equal(write(changed, tmp_path / "a.pt"), tmp_path / "folder")
    momenta = [
        [layer.momentum for layer in model.modules() if isinstance(layer, nn.BatchNorm2d)]
        for model in (loaded, changed)
    ]
    assert momenta[0] == momenta[1]


@pytest.mark.parametrize(
    ("what", "activation"),
    [
        ("leaky relu", "nn.LeakyReLU(negative_slope=0.1)"),
        ("relu6 in place", "nn.ReLU6()"),
        ("hardtanh", "nn.Hardtanh(min_val=-2.0, max_val=3.0)"),
        ("one slope for all", "nn.PReLU()"),
    ],
)
def test_one_activation_for_all_is_said_in_one_word(what: str, activation: str, tmp_path: Path) -> None:
    name, change = CHANGES[what]
    _, architecture = load_detector(write(changed_network(name, change), tmp_path / "a.pt"))
    assert architecture.yaml["activation"] == activation
    assert "departures" not in architecture.yaml


def cut(model: DetectionModel) -> tuple[DetectionModel, Candidate]:
    graph = probe(model, trace_channels(model, imgsz=64), rng=np.random.default_rng(0))
    space = Space(graph)
    candidate = space.sample(np.random.default_rng(0), limits={"macs_g": 0.5 * space.reach()["macs_g"][1]})
    study = study_without_images(model, graph)
    made = Builder(model, graph, space, images=torch.rand(4, 3, 64, 64), study=study)(candidate, Recovery.ADAPTIVE_BN)
    assert isinstance(made, DetectionModel)
    return made, candidate


@pytest.mark.parametrize(
    "what", ["leaky relu", "hardswish in the backbone", "a slope for each channel", "one slope for all"]
)
def test_a_cut_row_of_a_changed_network_keeps_the_change(what: str, tmp_path: Path) -> None:
    name, change = CHANGES[what]
    row, candidate = cut(load_detector(write(changed_network(name, change), tmp_path / "a.pt"))[0])
    save_detector(row, tmp_path / "row", candidate=candidate)
    loaded, _ = load_detector(tmp_path / "row")
    assert difference(loaded, row) <= 1e-4  # a deep network blows up the rounding of another order of summing
    kinds = [[type(layer).__name__ for layer in model.modules()] for model in (row, loaded)]
    assert kinds[0] == kinds[1]


def narrowed(model: DetectionModel, *, widths: Sequence[str]) -> DetectionModel:
    """Return `model` without every other channel between the two convolutions of its bottlenecks."""
    for name in widths:
        inner = model.get_submodule(name)
        first, second = inner.cv1, inner.cv2
        first.conv.weight = nn.Parameter(first.conv.weight[::2].clone())
        second.conv.weight = nn.Parameter(second.conv.weight[:, ::2].clone())
        n = first.conv.weight.shape[0]
        first.conv.out_channels, second.conv.in_channels = n, n
        for key in ("weight", "bias"):
            first.bn._parameters[key] = nn.Parameter(getattr(first.bn, key)[::2].clone())
        for key in ("running_mean", "running_var"):
            first.bn._buffers[key] = getattr(first.bn, key)[::2].clone()
        first.bn.num_features = n
    return model


def test_a_network_that_was_pruned_elsewhere_is_loaded_with_its_widths(tmp_path: Path) -> None:
    pruned = narrowed(changed_network("yolov8", lambda _: None), widths=["model.2.m.0", "model.6.m.1"])
    loaded = check_equal(write(pruned, tmp_path / "a.pt"), tmp_path / "folder")
    assert loaded.model[2].m[0].cv1.conv.out_channels == 8
