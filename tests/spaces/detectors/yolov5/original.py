"""Files as the original YOLOv5 repository writes them, without that repository."""

import copy
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from unittest.mock import patch

import torch
from torch import nn

from spaces.detectors.yolov5.detector import AnchorDetector

Change = Callable[[dict[str, object], nn.Module], object]  # of the record and its network, before they are written


def write_original(model: AnchorDetector, path: Path, *, name: str = "Model", change: Change | None = None) -> Path:
    """Write `model` to `path` as an object of classes that bear the names of that repository's."""
    homes = {home: ModuleType(home) for home in ("models", "models.yolo", "models.common")}
    network = _renamed(copy.deepcopy(model), homes, {"AnchorDetector": name, "AnchorDetect": "Detect"})
    names = [model.names[index] for index in range(len(model.names))]
    network.__dict__ |= {
        "yaml": copy.deepcopy(model.yaml),
        "names": names,
        "stride": model.stride,
        "hyp": {"box": 0.05},
    }
    network.__dict__.pop("args")
    network.model[-1].__dict__["stride"] = model.stride.half()  # type: ignore[index]
    record: dict[str, object] = {"epoch": -1, "model": network, "ema": None, "date": "2022-02-08"}
    if change is not None:
        change(record, network)
    with patch.dict(sys.modules, homes):
        torch.save(record, path)
    return path


def _renamed(module: nn.Module, homes: dict[str, ModuleType], names: dict[str, str]) -> nn.Module:
    """Return a copy of `module` whose classes are of `homes`, all but torch's own."""
    made = copy.copy(module)
    kind = type(module)
    if not kind.__module__.startswith("torch."):
        home = homes["models.yolo" if kind.__name__ in names else "models.common"]
        name = names.get(kind.__name__, kind.__name__)
        if not hasattr(home, name):
            setattr(home, name, type(name, (nn.Module,), {"__module__": home.__name__, "__qualname__": name}))
        made.__class__ = getattr(home, name)
    made._modules = {
        key: child if child is None else _renamed(child, homes, names) for key, child in module._modules.items()
    }
    return made
