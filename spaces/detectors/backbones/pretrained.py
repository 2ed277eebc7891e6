"""Weights of published networks, from files that the user names: nothing is downloaded, nothing is unpickled."""

import pickle
import zipfile
from collections.abc import Collection, Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from torch import Tensor

from spaces.detectors.backbones.published import make_network
from spaces.detectors.backbones.trunks import TRUNKS
from spaces.detectors.backbones.weight_paths import KEY, read_weight_paths
from spaces.errors import BadInput

_COUNTER = ".num_batches_tracked"  # what a BatchNorm counts; some files leave it out


def load_pretrained(name: str, path: Path, /) -> dict[str, Tensor]:
    """Return the tensors of the backbone `name` in `path`, float32, by their names in the published network.

    The classifier may have any number of classes, or be left out: it is not used.

    Args:
        path: a `.safetensors` file, or what `torch.save` made of a state dict, alone or under "state_dict".

    Raises:
        BadInput: it is no such file, or of another architecture; the first tensor that differs is named.
    """
    found = _read(path)
    with torch.device("meta"):
        whole = make_network(name).state_dict()
    used = tuple(f"{prefix}." for part in TRUNKS[name].parts for prefix in part)
    for tensor in (each for each in whole if each.startswith(used)):
        if tensor not in found and tensor.endswith(_COUNTER):
            continue
        shape = tuple(found[tensor].shape) if tensor in found else "none"
        if shape != tuple(whole[tensor].shape):
            raise BadInput(
                f"{KEY}: {str(path)!r} is not of {name}: {tensor} must have the shape {tuple(whole[tensor].shape)}, "
                f"the file has {shape}"
            )
        if not found[tensor].isfinite().all():
            raise BadInput(f"{KEY}: {str(path)!r} holds NaN or infinity, first in {tensor}")
    if odd := next((tensor for tensor in found if tensor not in whole), None):
        raise BadInput(f"{KEY}: {str(path)!r} is not of {name}, which has no {odd!r:.80}")
    kept = {tensor: value for tensor, value in found.items() if tensor.startswith(used)}
    return {tensor: value.float() if value.is_floating_point() else value for tensor, value in kept.items()}


def check_pretrained(text: str, backbones: Collection[str], /) -> None:
    """Make sure that every file that `text` names can be used, before hours are spent on the others.

    Raises:
        BadInput: as of `read_weight_paths` and `load_pretrained`, or one is of none of `backbones`.
    """
    for name, path in read_weight_paths(text).items():
        if name not in backbones:
            raise BadInput(f"{KEY}: {name} is not among backbones={','.join(backbones)}")
        load_pretrained(name, path)


def _read(path: Path) -> Mapping[str, Tensor]:
    try:
        if path.suffix == ".safetensors":
            record = load_tensors(path.read_bytes())
        else:
            record = torch.load(path, map_location="cpu", weights_only=True)
    except (
        SafetensorError,
        pickle.UnpicklingError,
        RuntimeError,
        EOFError,
        OSError,
        ValueError,
        KeyError,
        TypeError,
        AttributeError,
        zipfile.BadZipFile,
    ) as error:
        raise BadInput(f"{KEY}: {str(path)!r} holds no plain tensors: {' '.join(str(error).split()):.100}") from error
    if isinstance(record, Mapping):
        record = record.get("state_dict", record)
    is_plain = isinstance(record, Mapping) and all(isinstance(value, Tensor) for value in record.values())
    if not is_plain or not record:
        raise BadInput(f"{KEY}: {str(path)!r} must map names to tensors")
    return {str(name): value for name, value in record.items()}
