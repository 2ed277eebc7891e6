"""Checkpoints as Ultralytics writes them, of networks that are random and sometimes changed in code."""

import copy
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from ultralytics.nn.modules.conv import Conv
from ultralytics.nn.tasks import DetectionModel, yaml_model_load

from spaces.recovery.calibration import calibrate_bn_

SMALL: dict[str, object] = {  # a detector with a layer of each kind and two levels
    "nc": 3,
    "backbone": [
        [-1, 1, "Conv", [8, 3, 2]],
        [-1, 1, "Conv", [16, 3, 2]],
        [-1, 1, "C2f", [16, True]],
        [-1, 1, "Conv", [16, 3, 2]],
        [-1, 1, "SPPF", [16, 5]],
    ],
    "head": [
        [-1, 1, "nn.Upsample", [None, 2, "nearest"]],
        [[-1, 2], 1, "Concat", [1]],
        [-1, 1, "C3", [16, False]],
        [[7, 4], 1, "Detect", ["nc"]],
    ],
}
Change = Callable[[DetectionModel], object]


@cache
def random_network(name: str, *, n_classes: int = 3) -> DetectionModel:
    """Return the detector of Ultralytics' yaml called `name`, or SMALL; every channel and output of it matters."""
    torch.manual_seed(0)
    yaml: dict[str, Any] = copy.deepcopy(SMALL) if name == "small" else yaml_model_load(f"{name}.yaml")
    if "scales" in yaml:
        yaml["scale"] = yaml["scale"] or next(iter(yaml["scales"]))  # the smallest stands first
    model = DetectionModel(yaml, nc=n_classes, verbose=False)
    for layer in model.modules():
        if isinstance(layer, nn.BatchNorm2d):
            nn.init.uniform_(layer.weight, 0.5, 1.5)
            nn.init.normal_(layer.bias, 0, 0.2)
        elif isinstance(layer, nn.Conv2d) and layer.bias is not None:
            nn.init.normal_(layer.bias, 0, 0.5)
    side = max(64, int(model.stride.max()))
    calibrate_bn_(model.eval(), [torch.rand(4, 3, side, side)])
    model.names = {index: f"class {index}" for index in range(n_classes)}
    return model


def changed_network(name: str, change: Change) -> DetectionModel:
    """Return a copy of `random_network(name)` after `change`."""
    model = copy.deepcopy(random_network(name))
    change(model)
    return model


def write(model: nn.Module, path: Path, **more: object) -> Path:
    """Write `model` to `path` as training does, with `more` beside it."""
    torch.save({"epoch": -1, "model": model, "ema": None, "train_args": {"imgsz": 64}, **more}, path)
    return path


@torch.no_grad()
def outputs(model: nn.Module) -> list[Tensor]:
    """Return the decoded and the raw outputs of `model` for one image."""
    side = max(128, int(max(model.stride)))  # type: ignore[arg-type]
    decoded, raw = model.eval()(torch.rand(1, 3, side, side, generator=torch.Generator().manual_seed(1)))
    branches = [raw[name] for name in ("one2many", "one2one") if name in raw] or [raw]
    return [decoded, *(branch[name] for branch in branches for name in ("boxes", "scores"))]


def difference(a: nn.Module, b: nn.Module) -> float:
    """Return the largest difference of an output, over the largest of its kind."""
    pairs = zip(outputs(a), outputs(b), strict=True)
    return max(float((one - other).abs().max() / other.abs().max()) for one, other in pairs)


def activate(make: Callable[[], nn.Module], *, layers: range = range(1000)) -> Change:
    """Return what puts a new activation into each convolution of these `layers` that has one."""

    def change(model: DetectionModel) -> None:
        for index, layer in enumerate(model.model):
            for conv in layer.modules() if index in layers else ():
                if isinstance(conv, Conv) and not isinstance(conv.act, nn.Identity):
                    conv.act = make()

    return change


def each(kind: type[nn.Module], **attributes: object) -> Change:
    """Return what sets `attributes` on each layer of a `kind`."""

    def change(model: DetectionModel) -> None:
        for layer in model.modules():
            if isinstance(layer, kind):
                vars(layer).update(attributes)

    return change
