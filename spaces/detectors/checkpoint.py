"""What a `.pt` file holds, without ever running what it says.

The weights-only unpickler of torch builds nothing that its allow-list does not name. For files of Ultralytics the list
is theirs; for files of the original YOLOv5 see `spaces.detectors.yolov5.legacy`.
"""

import json
import pickle
import warnings
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from torch import Tensor, nn
from ultralytics.nn.modules.head import Detect
from ultralytics.nn.tasks import DetectionModel, torch_safe_load

from spaces.errors import BadInput

MAX_JSON = 1_000_000  # characters of an architecture


class Checkpoint(NamedTuple):
    """What a file says of a detector: plain data and tensors.

    Attributes:
        yaml: the description of its layers, as JSON can hold it.
        names: the classes in the order of their ids.
        tensors: its state dict.
    """

    yaml: Mapping[str, object]
    names: tuple[str, ...]
    tensors: Mapping[str, Tensor]


def check_archive(path: Path, /) -> None:
    """Make sure that the file at `path` is a whole archive.

    Raises:
        BadInput: it is damaged, or not what torch writes since 1.6: other pickles are not even opened.
    """
    if not zipfile.is_zipfile(path):
        raise BadInput(f"weights: {str(path)!r} {_reason('')}")
    with refusing(path), zipfile.ZipFile(path) as archive:
        if (damaged := archive.testzip()) is not None:
            raise BadInput(f"weights: {str(path)!r} is damaged, first in {damaged}")


def read_ultralytics(path: Path, /) -> Checkpoint:
    """Return what the Ultralytics checkpoint at `path` holds.

    Raises:
        BadInput: no detector, of another kind or task, or not loadable without running foreign code.
    """
    with refusing(path):
        checkpoint, _ = torch_safe_load(path, safe_only=True)
    network = checkpoint.get("ema") or checkpoint.get("model")
    if not isinstance(network, nn.Module):
        raise BadInput(f"weights: {str(path)!r} holds no network (a bare state dict?); save it with YOLO.save()")
    if type(network) is not DetectionModel or not any(isinstance(layer, Detect) for layer in network.modules()):
        raise BadInput(f"weights: {str(path)!r} is a {type(network).__name__}; only detection models are supported")
    check_trainable(
        path, is_quantized=bool(checkpoint.get("modelopt")), kinds=[type(layer).__name__ for layer in network.modules()]
    )
    return Checkpoint(plain(network.yaml), ordered_names(network.names, path), network.state_dict())


def check_trainable(path: Path, /, *, is_quantized: bool, kinds: Sequence[str]) -> None:
    """Make sure that a network whose layers are of these `kinds` still has BatchNorm.

    Raises:
        BadInput: it is fused or quantized.
    """
    if is_quantized or "BatchNorm2d" not in kinds:
        raise BadInput(
            f"weights: {str(path)!r} is fused or quantized; BatchNorm is needed, take the training checkpoint"
        )


def ordered_names(names: object, path: Path, /) -> tuple[str, ...]:
    """Return the class names of a checkpoint, a list or a mapping by id, in the order of their ids.

    Raises:
        BadInput: the ids do not count from 0, or `names` are neither.
    """
    by_id = dict(enumerate(names)) if isinstance(names, list | tuple) else names
    if not isinstance(by_id, Mapping):
        raise BadInput(f"weights: {str(path)!r} has no class names")
    if set(by_id) != set(range(len(by_id))) or not all(isinstance(name, str | int) for name in by_id.values()):
        raise BadInput(f"weights: {str(path)!r} must have a name for each class id from 0 to {len(by_id) - 1}")
    return tuple(str(by_id[index]) for index in range(len(by_id)))


def plain(record: object, /) -> dict[str, object]:
    """Return a copy of `record` made of what JSON can hold.

    Raises:
        BadInput: it is no mapping or holds something else.
    """
    written, length = [], 0
    try:
        for part in json.JSONEncoder().iterencode(record):
            written.append(part)
            length += len(part)
            if length > MAX_JSON:  # a few lists in each other can stand for more than any memory holds
                raise BadInput(f"weights: the description of the layers must be at most {MAX_JSON} characters")
        copied = json.loads("".join(written))
    except (TypeError, ValueError, RecursionError) as error:
        raise BadInput(f"weights: the description of the layers must be plain data: {error!s:.100}") from error
    if not isinstance(copied, dict):
        raise BadInput(f"weights: the description of the layers must be a mapping, got {copied!r:.60}")
    return copied


@contextmanager
def refusing(path: Path, /) -> Iterator[None]:
    """Turn whatever unpickling the file at `path` raises into BadInput; warnings are silenced."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except ModuleNotFoundError as error:
        raise BadInput(f"weights: {str(path)!r} needs code that is not Ultralytics' ({error.name}); refused") from error
    except (
        TypeError,
        RuntimeError,
        pickle.UnpicklingError,
        EOFError,
        OSError,
        ValueError,
        AttributeError,
        LookupError,
        MemoryError,
        OverflowError,
        zipfile.BadZipFile,
    ) as error:
        raise BadInput(f"weights: {str(path)!r} {_reason(str(error))}") from error


def _reason(message: str) -> str:
    """Return in a few words why torch or Ultralytics refused a file."""
    if "TorchScript" in message:
        return "is a TorchScript archive; take the .pt checkpoint it was exported from"
    if "references types outside" in message or "Unsupported" in message:
        return "contains code that is not Ultralytics'; refused, nothing of it was run"
    return "is no readable checkpoint: empty, truncated, written by torch before 1.6, or another format"
