"""The network that a `.pt` holds, as plain data: its layers, what is written on them, and its tensors by name.

Nothing of it is built here; the file is only read (unpickling.py).
"""

import pickle
import warnings
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from torch import Tensor

from spaces.detectors.unpickling import Archive, Inert, Stored
from spaces.errors import BadInput

_MOST_PARTS = 50_000
_LEFTOVERS = ("total_ops", "total_params")  # buffers of thop, which counts operations
_UNREADABLE = "is no readable checkpoint: empty, truncated, written by torch before 1.6, or another format"
_WHOLE_FILES = ("ultralytics.yolo.engine.model.YOLO", "ultralytics.models.yolo.model.YOLO")  # torch.save(YOLO(...))


@dataclass(frozen=True)
class StoredNetwork:
    """The network of a file that is open.

    Attributes:
        path: of the file.
        network: with the attributes of the whole.
        layers: by their names, as in the state dict.
        is_quantized: whether the file says so.
    """

    path: Path
    network: Inert
    layers: Mapping[str, Inert]
    is_quantized: bool
    _archive: Archive
    _tensors: Mapping[str, Stored]

    def tensor(self, stored: object, /) -> Tensor:
        """Return the tensor that `stored` stands for.

        Raises:
            ValueError: it is no tensor, or larger than its file.
        """
        if not isinstance(stored, Stored):
            raise ValueError("a tensor is missing")
        return self._archive.tensor(stored)

    def tensors(self) -> dict[str, Tensor]:
        """Return the state dict.

        Raises:
            ValueError: it is larger than its file.
        """
        return {name: self._archive.tensor(stored) for name, stored in self._tensors.items()}

    def mapping(self, name: str, /) -> Mapping[str, object]:
        """Return the attribute `name` of the network, a mapping.

        Raises:
            BadInput: it has none.
        """
        held = self.network.state.get(name)
        if not isinstance(held, dict):
            raise BadInput(f"weights: {str(self.path)!r} holds a network without its {name}")
        return held


@contextmanager
def open_network(path: Path, /) -> Iterator[StoredNetwork]:
    """Give the network in the file at `path`, the averaged one if there are two.

    Whatever goes wrong while it is read is a BadInput.

    Raises:
        BadInput: the file is damaged, no checkpoint, asks for code, or holds no network or one that is fused.
    """
    _check_archive(path)
    with _refusing(path), zipfile.ZipFile(path) as file:
        archive = Archive(file)
        record = archive.tree()
        network = _network(record, path)
        parts = dict(islice(_parts(network, ""), _MOST_PARTS))  # layers that contain each other would never end
        layers = {name: part for name, part in parts.items() if isinstance(part, Inert)}
        tensors = {name: part for name, part in parts.items() if isinstance(part, Stored)}
        is_quantized = isinstance(record, dict) and bool(record.get("modelopt"))
        yield StoredNetwork(path, network, layers, is_quantized, archive, tensors)


def check_trainable(stored: StoredNetwork, /) -> None:
    """Make sure that a network still has BatchNorm.

    Raises:
        BadInput: it is fused or quantized.
    """
    kinds = {layer.path.rpartition(".")[2] for layer in stored.layers.values()}
    if stored.is_quantized or kinds.isdisjoint(("BatchNorm2d", "SyncBatchNorm")):
        raise BadInput(
            f"weights: {str(stored.path)!r} is fused or quantized; BatchNorm is needed, take the training checkpoint"
        )


def ordered_names(stored: StoredNetwork, /) -> tuple[str, ...]:
    """Return the class names, a list or a mapping by id, in the order of their ids; numbers as they are written.

    Raises:
        BadInput: the ids do not count from 0, or the names are neither.
    """
    names = stored.network.state.get("names")
    by_id = dict(enumerate(names)) if isinstance(names, list | tuple) else names
    if not isinstance(by_id, Mapping) or not by_id:
        raise BadInput(f"weights: {str(stored.path)!r} has no class names")
    by_id = {int(key) if isinstance(key, str) and key.isdecimal() else key: name for key, name in by_id.items()}
    if set(by_id) != set(range(len(by_id))):
        raise BadInput(f"weights: {str(stored.path)!r} must have a name for each class id from 0 to {len(by_id) - 1}")
    if odd := [name for name in by_id.values() if not isinstance(name, str | int | float | None)]:
        what = odd[0].path if isinstance(odd[0], Inert) else repr(odd[0])
        raise BadInput(f"weights: {str(stored.path)!r} has a class name that is neither text nor a number: {what:.40}")
    return tuple(str(by_id[index]) for index in range(len(by_id)))


def _check_archive(path: Path) -> None:
    """Make sure that the file at `path` is a whole archive, what torch writes since 1.6; other pickles stay closed."""
    if not zipfile.is_zipfile(path):
        raise BadInput(f"weights: {str(path)!r} {_UNREADABLE}")
    with _refusing(path), zipfile.ZipFile(path) as archive:
        if any(name.partition("/")[2] in ("constants.pkl", "code/__torch__.py") for name in archive.namelist()):
            raise BadInput(f"weights: {str(path)!r} is a TorchScript archive; take the .pt it was exported from")
        if (damaged := archive.testzip()) is not None:
            raise BadInput(f"weights: {str(path)!r} is damaged, first in {damaged}")


def _network(record: object, path: Path) -> Inert:
    """Return the averaged network of a checkpoint, or else the only one."""
    found = [record.get(key) for key in ("ema", "model")] if isinstance(record, dict) else [record]
    network = next((one for one in found if isinstance(one, Inert)), None)
    if network is not None and network.path in _WHOLE_FILES:
        held = network.state.get("_modules")
        network = held.get("model") if isinstance(held, dict) else network.state.get("model")  # type: ignore[assignment]
    if not isinstance(network, Inert):
        raise BadInput(f"weights: {str(path)!r} holds no network (a bare state dict?); save it with YOLO.save()")
    return network


def _parts(layer: Inert, prefix: str) -> Iterator[tuple[str, Inert | Stored]]:
    """Yield the layers and tensors below `layer` by their names in its state dict."""
    passing = layer.state.get("_non_persistent_buffers_set")
    for kind in ("_parameters", "_buffers", "_modules"):
        held = layer.state.get(kind)
        for name, part in held.items() if isinstance(held, dict) else ():
            is_kept = kind != "_buffers" or not isinstance(passing, set) or name not in passing
            if isinstance(part, Inert | Stored) and is_kept and name not in _LEFTOVERS:
                yield f"{prefix}{name}", part
            if isinstance(part, Inert):
                yield from _parts(part, f"{prefix}{name}.")


@contextmanager
def _refusing(path: Path) -> Iterator[None]:
    """Turn whatever reading the file at `path` raises into BadInput; warnings are silenced."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
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
        ArithmeticError,
        zipfile.BadZipFile,
    ) as error:
        said = " ".join(str(error).split()) or type(error).__name__
        raise BadInput(f"weights: {str(path)!r} {_UNREADABLE} ({said:.80})") from error
