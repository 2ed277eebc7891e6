"""Checkpoints of the original YOLOv5 repository, versions 5 to 7, read without its code.

Such a file is a pickle of the whole network object. Its classes, torch's layers and what training leaves beside them
are read as plain data (unpickling.py); a file that asks for anything else is refused.
"""

import re
import zipfile
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path

from torch import Tensor

from spaces.detectors.checkpoint import Checkpoint, check_trainable, ordered_names, plain, refusing
from spaces.detectors.yolov5.unpickling import Archive, Inert, Stored
from spaces.errors import BadInput

ORIGINAL = re.compile(r"(models|utils)(\.[A-Za-z_]\w*)+")
INERT = re.compile(
    rf"{ORIGINAL.pattern}"
    r"|torch\.nn\.modules\.[a-z]+\.[A-Z]\w*"
    r"|numpy\.(dtype|(core|_core)\.multiarray\.scalar)|_codecs\.encode"  # the best fitness so far
    r"|pathlib\.(Posix|Windows)Path"  # in the options of the training
)
DETECTORS = ("models.yolo.Model", "models.yolo.DetectionModel")
HEAD = "models.yolo.Detect"
BATCH_NORM, BN_EPS = "torch.nn.modules.batchnorm.BatchNorm2d", 1e-3
ACTIVATIONS, SILU = "torch.nn.modules.activation.", "torch.nn.modules.activation.SiLU"
SPEC_KEYS = ("depth_multiple", "width_multiple", "backbone", "head")
_MOST_PARTS = 50_000


def is_legacy(path: Path, /) -> bool:
    """Return whether the file at `path` is of the original repository.

    Raises:
        BadInput: it is damaged or no checkpoint.
    """
    with refusing(path), zipfile.ZipFile(path) as file:
        return any(ORIGINAL.fullmatch(name) for name in Archive(file).names())


def read_legacy(path: Path, /) -> Checkpoint:
    """Return what the checkpoint of the original YOLOv5 at `path` holds; its `yaml` is a spec with anchors in pixels.

    Raises:
        BadInput: it asks for anything that is no layer, is damaged, fused, of another task or of another version.
    """
    with refusing(path), zipfile.ZipFile(path) as file:
        archive = Archive(file)
        network = _network(archive.tree(INERT), path)
        parts = dict(islice(_parts(network, ""), _MOST_PARTS))  # layers that contain each other would never end
        layers = {name: part for name, part in parts.items() if isinstance(part, Inert)}
        _check_layers(list(layers.values()), path)
        head = next((name for name, layer in layers.items() if layer.path == HEAD), None)
        if head is None:
            raise BadInput(f"weights: {str(path)!r} has no {HEAD}; only detection models are supported")
        tensors = {name: archive.tensor(part) for name, part in parts.items() if isinstance(part, Stored)}
        tensors.pop(f"{head}.anchor_grid", None)  # the anchors once more, up to version 5
        strides = layers[head].state["stride"]
        if not isinstance(strides, Stored):
            raise ValueError("the strides of the head must be a tensor")
        names = ordered_names(network.state.get("names"), path)
        yaml = plain(network.state["yaml"])
        anchors = _in_pixels(tensors[f"{head}.anchors"], archive.tensor(strides))
        return Checkpoint(
            {"nc": len(names), "anchors": anchors, **{key: yaml[key] for key in SPEC_KEYS}}, names, tensors
        )


def _network(record: object, path: Path) -> Inert:
    """Return the averaged network of a checkpoint, or else the only one."""
    found = [record.get(key) for key in ("ema", "model")] if isinstance(record, dict) else []
    network = next((one for one in found if isinstance(one, Inert)), None)
    if network is None:
        raise BadInput(f"weights: {str(path)!r} holds no network (a bare state dict?)")
    if network.path not in DETECTORS:
        raise BadInput(f"weights: {str(path)!r} is a {network.path:.60}; only detection models are supported")
    return network


def _parts(layer: Inert, prefix: str) -> Iterator[tuple[str, Inert | Stored]]:
    """Yield the layers and tensors below `layer` by their names in its state dict."""
    for kind in ("_parameters", "_buffers", "_modules"):
        held = layer.state.get(kind)
        for name, part in held.items() if isinstance(held, dict) else ():
            if isinstance(part, Inert | Stored):
                yield f"{prefix}{name}", part
            if isinstance(part, Inert):
                yield from _parts(part, f"{prefix}{name}.")


def _check_layers(layers: Sequence[Inert], path: Path) -> None:
    """Make sure that the layers are those that a spec stands for; it says neither activations nor epsilons."""
    check_trainable(path, is_quantized=False, kinds=[layer.path.rpartition(".")[2] for layer in layers])
    for layer in layers:
        if layer.path.startswith(ACTIVATIONS) and layer.path != SILU:
            raise BadInput(f"weights: {str(path)!r} has activations {layer.path:.60}; only {SILU} is supported")
        if layer.path == BATCH_NORM and layer.state.get("eps") != BN_EPS:
            raise BadInput(f"weights: {str(path)!r} has a BatchNorm whose eps is not {BN_EPS}")


def _in_pixels(anchors: Tensor, strides: Tensor) -> list[list[float]]:
    """Return width, height, width, ... of each level, from `anchors` (levels, n, 2) in units of `strides` (levels,)."""
    pixels: list[list[float]] = (anchors.float() * strides.float().view(-1, 1, 1)).flatten(1).tolist()
    return pixels
