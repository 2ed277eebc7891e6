"""Checkpoints of Ultralytics of all ages, and what is said of those that are not taken."""

import datetime
import os
import sys
import zipfile
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path, PureWindowsPath
from types import ModuleType
from unittest.mock import patch

import numpy as np
import pytest
import torch
from torch import nn
from ultralytics import YOLO
from ultralytics.nn.tasks import (
    ClassificationModel,
    DetectionModel,
    PoseModel,
    RTDETRDetectionModel,
    SegmentationModel,
    WorldModel,
    YOLOEModel,
)
from ultralytics.utils import IterableSimpleNamespace
from ultralytics.utils.loss import v8DetectionLoss

from spaces.detectors.detector import load_detector
from spaces.errors import BadInput
from tests.spaces.detectors.files import changed_network, difference, random_network, write


def small() -> DetectionModel:
    return changed_network("small", lambda _: None)


def moved(kind: type, home: str, name: str | None = None) -> type:
    """Return a class like `kind` that lies in the module `home`, perhaps under another name."""
    return type(name or kind.__name__, (kind,), {"__module__": home, "__qualname__": name or kind.__name__})


def write_moved(path: Path, moves: dict[type, type], model: nn.Module, **more: object) -> Path:
    """Write `model` with its layers' classes exchanged, as if they lay where they once did."""
    homes: dict[str, ModuleType] = {}
    for kind in moves.values():
        parts = kind.__module__.split(".")
        for end in range(1, len(parts) + 1):
            home = ".".join(parts[:end])
            homes.setdefault(home, sys.modules.get(home) or ModuleType(home))
    with patch.dict(sys.modules, homes):
        for kind in moves.values():
            homes[kind.__module__].__dict__[kind.__name__] = kind
        for layer in model.modules():
            layer.__class__ = moves.get(type(layer), type(layer))
        return write(model, path, **more)


def test_layers_that_lay_in_one_file_in_8_0_are_known(tmp_path: Path) -> None:
    model = small()
    kinds = {type(layer) for layer in model.modules() if type(layer).__module__.startswith("ultralytics.nn.modules")}
    path = write_moved(tmp_path / "a.pt", {kind: moved(kind, "ultralytics.yolo.old.modules") for kind in kinds}, model)
    assert difference(load_detector(path)[0], random_network("small")) == 0


def test_a_loss_that_was_left_in_the_network_is_passed_over(tmp_path: Path) -> None:
    model = small()
    model.args = IterableSimpleNamespace(box=7.5, cls=0.5, dfl=1.5)
    model.criterion = v8DetectionLoss(model)
    old = moved(v8DetectionLoss, "ultralytics.yolo.utils.loss")
    model.criterion.__class__ = old
    path = write_moved(tmp_path / "a.pt", {v8DetectionLoss: old}, model)
    assert difference(load_detector(path)[0], random_network("small")) == 0


def test_yolov10_under_its_own_class_is_known(tmp_path: Path) -> None:
    model = changed_network("yolov10n", lambda _: None)
    path = write_moved(
        tmp_path / "a.pt", {DetectionModel: moved(DetectionModel, "ultralytics.nn.old", "YOLOv10DetectionModel")}, model
    )
    assert difference(load_detector(path)[0], random_network("yolov10n")) == 0


LEFT: dict[str, object] = {
    "best_fitness": np.float64(0.5),
    "array": np.arange(3),
    "args": {"save_dir": Path("runs"), "other": PureWindowsPath("C:/runs"), "when": datetime.datetime(2024, 1, 1)},
    "optimizer": torch.optim.SGD([nn.Parameter(torch.zeros(2))], lr=0.1),
    "scaler": torch.amp.GradScaler("cpu"),
    "history": defaultdict(list, {"loss": [1.0, 2.0]}),
    "device": torch.device("cpu"),
    "dtype": torch.float16,
    "size": torch.Size((1, 2)),
    "head": DetectionModel.forward,
    "parts": {1, 2},
}


@pytest.mark.parametrize("what", LEFT)
def test_what_training_leaves_in_a_file_is_passed_over(what: str, tmp_path: Path) -> None:
    path = write(small(), tmp_path / "a.pt", **{what: LEFT[what]})
    assert difference(load_detector(path)[0], random_network("small")) == 0


def test_batchnorm_of_many_gpus_computes_the_same(tmp_path: Path) -> None:
    model = nn.SyncBatchNorm.convert_sync_batchnorm(small())
    assert difference(load_detector(write(model, tmp_path / "a.pt"))[0], random_network("small")) == 0


def test_counters_that_thop_left_behind_are_passed_over(tmp_path: Path) -> None:
    model = small()
    for layer in list(model.modules()):
        for name in ("total_ops", "total_params"):
            layer.register_buffer(name, torch.zeros(1, dtype=torch.float64))
    assert difference(load_detector(write(model, tmp_path / "a.pt"))[0], random_network("small")) == 0


def empty(model: DetectionModel) -> None:
    model.model[0].conv.weight.data.zero_()


def rounded(model: DetectionModel) -> None:
    model.half().float()


def test_the_averaged_network_is_preferred_and_half_precision_becomes_single(tmp_path: Path) -> None:
    path = write(changed_network("small", empty), tmp_path / "a.pt", ema=small().half())
    assert difference(load_detector(path)[0], changed_network("small", rounded)) == 0


def test_a_network_saved_by_yolo_or_as_a_whole_is_loaded(tmp_path: Path) -> None:
    yolo = YOLO("yolov8n.yaml")
    yolo.model = changed_network("yolov8", lambda _: None)
    yolo.save(tmp_path / "saved.pt")
    torch.save(yolo.model, tmp_path / "whole.pt")
    assert difference(load_detector(tmp_path / "saved.pt")[0], changed_network("yolov8", rounded)) == 0
    assert difference(load_detector(tmp_path / "whole.pt")[0], random_network("yolov8")) == 0


def test_a_file_in_another_protocol_is_loaded(tmp_path: Path) -> None:
    torch.save({"model": small()}, tmp_path / "a.pt", pickle_protocol=4)
    assert difference(load_detector(tmp_path / "a.pt")[0], random_network("small")) == 0


def test_a_parameter_with_attributes_of_its_own_is_a_parameter(tmp_path: Path) -> None:
    model = small()
    model.model[0].conv.weight.pruned = True
    model.model[0].bn.running_mean.seen = 3
    assert difference(load_detector(write(model, tmp_path / "a.pt"))[0], random_network("small")) == 0


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        ({0: 0.5, 1: 1.0, 2: 2.0}, ("0.5", "1.0", "2.0")),
        ([True, 7, "cat"], ("True", "7", "cat")),
        ({"0": "a", "1": None, "2": 2.5}, ("a", "None", "2.5")),
    ],
)
def test_numbers_are_names_as_a_yaml_writes_them(names: object, expected: tuple[str, ...], tmp_path: Path) -> None:
    model = changed_network("small", lambda model: setattr(model, "names", names))
    assert load_detector(write(model, tmp_path / "a.pt"))[1].names == expected


def renamed(names: object) -> Callable[[DetectionModel], object]:
    return lambda model: setattr(model, "names", names)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ({0: "a", 2: "b", 3: "c"}, "must have a name for each class id from 0 to 2"),
        ({0: "a", 1: ("b",), 2: "c"}, r"a class name that is neither text nor a number: \('b',\)"),
        ({0: "a", 1: datetime.date(2024, 1, 1), 2: "c"}, "neither text nor a number: datetime.date"),
        (None, "has no class names"),
        ({}, "has no class names"),
        (["a", "b"], "names 2 classes, and its head scores 3"),
    ],
)
def test_names_that_are_none_are_told_apart(names: object, message: str, tmp_path: Path) -> None:
    path = write(changed_network("small", renamed(names)), tmp_path / "a.pt")
    with pytest.raises(BadInput, match=message):
        load_detector(path)


def test_a_network_for_grey_images_is_told_in_a_sentence(tmp_path: Path) -> None:
    path = write(DetectionModel("yolov8n.yaml", ch=1, nc=3, verbose=False), tmp_path / "a.pt")
    with pytest.raises(
        BadInput, match=r"a\.pt': the network reads 1 channel \(channels: 1 in its data\.yaml\); this works"
    ):
        load_detector(path)


def test_a_layer_of_nobodys_is_named(tmp_path: Path) -> None:
    kind = moved(nn.Identity, "models.common", "Odd")
    model = changed_network("small", lambda model: setattr(model.model[1], "act", nn.Identity()))
    path = write_moved(tmp_path / "a.pt", {nn.Identity: kind}, model)
    with pytest.raises(BadInput, match=r"has layer model\.1\.act, a models\.common\.Odd, which is not Ultralytics'"):
        load_detector(path)


def test_a_layer_that_a_fork_added_is_named(tmp_path: Path) -> None:
    def add(model: DetectionModel) -> None:
        model.yaml["backbone"][2][2] = "C2fFaster"

    with pytest.raises(BadInput, match="layer 'C2fFaster' in row 2 is no plain network layer"):
        load_detector(write(changed_network("small", add), tmp_path / "a.pt"))


def test_a_fused_network_is_told(tmp_path: Path) -> None:
    path = write(changed_network("yolov8", lambda _: None).fuse(verbose=False), tmp_path / "a.pt")
    with pytest.raises(BadInput, match="fused or quantized"):
        load_detector(path)


@pytest.mark.parametrize(
    ("make", "name"),
    [
        (SegmentationModel, "yolov8n-seg"),
        (PoseModel, "yolov8n-pose"),
        (ClassificationModel, "yolov8n-cls"),
        (WorldModel, "yolov8n-world"),
        (YOLOEModel, "yoloe-v8n"),
        (RTDETRDetectionModel, "rtdetr-l"),
    ],
)
def test_other_networks_are_refused_by_name(make: type[nn.Module], name: str, tmp_path: Path) -> None:
    path = write(make(f"{name}.yaml", verbose=False), tmp_path / "a.pt")
    with pytest.raises(BadInput, match=f"is a {make.__name__}; of Ultralytics' networks only DetectionModel and"):
        load_detector(path)


def test_a_head_of_another_kind_is_told(tmp_path: Path) -> None:
    def behead(model: DetectionModel) -> None:
        model.model[-1] = nn.Identity()

    with pytest.raises(BadInput, match="has no head of Detect or v10Detect"):
        load_detector(write(changed_network("small", behead), tmp_path / "a.pt"))


@pytest.mark.filterwarnings("ignore:.*torch.jit")
def test_a_torchscript_archive_is_told(tmp_path: Path) -> None:
    torch.jit.save(torch.jit.script(nn.Identity()), tmp_path / "a.pt")
    with pytest.raises(BadInput, match="is a TorchScript archive"):
        load_detector(tmp_path / "a.pt")


def test_a_compressed_archive_is_told(tmp_path: Path) -> None:
    path = write(small(), tmp_path / "a.pt")
    with zipfile.ZipFile(path) as file, zipfile.ZipFile(tmp_path / "b.pt", "w", zipfile.ZIP_DEFLATED) as other:
        for name in file.namelist():
            other.writestr(name, file.read(name))
    with pytest.raises(BadInput, match="an archive of torch must not be compressed"):
        load_detector(tmp_path / "b.pt")


@pytest.mark.skipif("REAL_DATA" not in os.environ, reason="needs REAL_DATA, the folder with data and weights")
@pytest.mark.parametrize("name", ["coco_yolov5nu", "coco_yolov8n", "bccd_yolov5nu_320"])
def test_published_files_are_loaded_as_they_are(name: str) -> None:
    path = Path(os.environ["REAL_DATA"]) / "weights" / f"{name}.pt"
    loaded, architecture = load_detector(path)
    assert difference(loaded, torch.load(path, weights_only=False)["model"].float()) <= 1e-5
    assert "departures" not in architecture.yaml
