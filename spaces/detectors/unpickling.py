"""Files of `torch.save` read as plain data: nothing that they name is imported, called or filled.

A pickle may call what it names and set attributes of whatever lies on its stack. So every class that may be named is
replaced by one of ours that keeps its state and does nothing, made anew for each file; a tensor is the mere note of
where its numbers lie, and is read later if it is wanted. Torch's own weights-only unpickler would do as well, but its
list of allowed names belongs to the process, and what other files have put on it stays there; and it builds real
layers, which do more than keep what they are given.
"""

import io
import pickle
import pickletools
import re
import zipfile
from collections.abc import Callable, Mapping
from functools import reduce
from operator import mul
from typing import NamedTuple, Self

import torch
from torch import Tensor

from spaces.errors import BadInput

STORAGES: Mapping[str, torch.dtype] = {
    "torch.DoubleStorage": torch.float64,
    "torch.FloatStorage": torch.float32,
    "torch.HalfStorage": torch.float16,
    "torch.BFloat16Storage": torch.bfloat16,
    "torch.LongStorage": torch.int64,
    "torch.IntStorage": torch.int32,
    "torch.ShortStorage": torch.int16,
    "torch.CharStorage": torch.int8,
    "torch.ByteStorage": torch.uint8,
    "torch.BoolStorage": torch.bool,
}
INERT = re.compile(  # layers, and what training leaves beside them: names that stand for nothing but themselves
    r"(ultralytics|models|utils)(\.[A-Za-z_]\w*)+"
    r"|torch\.nn\.modules(\.[a-z]+)*\.[A-Z]\w*|torch\.nn\.(functional\.[a-z]\w*|parameter\.Parameter)"
    r"|torch\.optim(\.[a-z_]\w*)*\.[A-Z]\w*|torch(\.\w+)*\.grad_scaler\.\w+"
    r"|torch\.(Size|Tensor|device|bool|u?int\d+|b?float\d+)|torch\._tensor\.Tensor"
    r"|numpy\.(dtype|ndarray|(core|_core)\.multiarray\.(scalar|_reconstruct))|_codecs\.encode"
    r"|pathlib(\._local)?\.(Pure)?(Posix|Windows)?Path|datetime\.(date|time|datetime|timedelta|timezone)"
    r"|collections\.(defaultdict|deque|Counter)|argparse\.Namespace|types\.SimpleNamespace"
    r"|(__builtin__|builtins)\.(list|dict|tuple|int|float|bool|str|bytes|bytearray|complex|frozenset|slice|range)"
)


class Ordered(dict[object, object]):
    """Stands for an ordered mapping: keeps the order, as every dict, and no attributes."""

    __slots__ = ()

    def __setstate__(self, state: object) -> None:
        """Let go of attributes, as those of a state dict."""


CONTAINERS: Mapping[str, type] = {
    "collections.OrderedDict": Ordered,
    "__builtin__.set": set,
    "builtins.set": set,
}


class Inert:
    """Stands for an object of a class that is not loaded: keeps its state, and that is all.

    Attributes:
        path: the full name of the class.
        state: what the object's attributes were.
    """

    path = ""
    state: Mapping[str, object]

    def __new__(cls, *_: object) -> Self:
        """Return an object without state, whatever the arguments."""
        made = object.__new__(cls)
        made.state = {}
        return made

    def __setstate__(self, state: object) -> None:
        self.state = state if isinstance(state, dict) else {}

    def __setitem__(self, key: object, value: object) -> None:
        """Let go of what is put into a container."""

    def extend(self, values: object, /) -> None:
        """Let go of what is put into a list."""

    append = add = extend


class Stored(NamedTuple):
    """A tensor that is not read yet.

    Attributes:
        key: of its storage in the archive.
        offset: of its first number in the storage.
    """

    dtype: torch.dtype
    key: str
    offset: int
    size: tuple[int, ...]
    stride: tuple[int, ...]


class Archive:
    """A file of `torch.save` that is open.

    Raises:
        ValueError: it is compressed, which torch never does, or not little-endian.
        KeyError: it is another kind of archive.
    """

    def __init__(self, file: zipfile.ZipFile) -> None:
        names = file.namelist()
        self._file = file
        self._root = next((name[:-8] for name in names if name.endswith("/data.pkl") and name.count("/") == 1), "")
        self._pickled = self._read("data.pkl")
        self._free = sum(entry.file_size for entry in file.infolist() if entry.compress_type == zipfile.ZIP_STORED)
        if f"{self._root}byteorder" in names and self._read("byteorder") != b"little":
            raise ValueError("tensors must be little-endian")

    def tree(self) -> object:
        """Return what was saved, objects as `Inert` and tensors as `Stored`.

        Raises:
            BadInput: a class or function is asked for that is neither a layer nor left by training.
            ValueError: it is damaged, or remembers more things than it has bytes.
        """
        for opcode, argument, _ in pickletools.genops(self._pickled):
            if opcode.name in ("PUT", "LONG_BINPUT") and int(str(argument)) > len(self._pickled):
                raise ValueError("a pickle must number what it remembers from 0")
        return _Unpickler(self._pickled, str(self._file.filename)).load()

    def tensor(self, stored: Stored, /) -> Tensor:
        """Return the tensor in memory of its own.

        Raises:
            ValueError: the tensors take more memory than the file, which is no honest one's need.
            RuntimeError: it reaches beyond its storage.
        """
        self._free -= reduce(mul, stored.size, stored.dtype.itemsize)
        if self._free < 0 or min(stored.size, default=0) < 0:
            raise ValueError("tensors must not be larger than their file")
        content = bytearray(self._read(f"data/{stored.key}"))
        if not content:
            return torch.empty(stored.size, dtype=stored.dtype)
        return torch.frombuffer(content, dtype=stored.dtype).as_strided(*stored[3:], stored.offset).clone()

    def _read(self, name: str) -> bytes:
        entry = self._file.getinfo(self._root + name)
        if entry.compress_type != zipfile.ZIP_STORED:
            raise ValueError("an archive of torch must not be compressed")
        return self._file.read(entry)


class _Unpickler(pickle.Unpickler):
    """Builds nothing but plain containers, `Inert` and `Stored`."""

    def __init__(self, pickled: bytes, source: str) -> None:
        super().__init__(io.BytesIO(pickled))
        self._source = source
        self._stand_ins: dict[str, type[Inert]] = {}

    def find_class(self, module: str, name: str, /) -> object:
        """Return what stands for a class or function.

        Raises:
            BadInput: it is not among those allowed.
        """
        path = f"{module}.{name}"
        if path in FUNCTIONS:
            return FUNCTIONS[path]
        known = STORAGES.get(path) or CONTAINERS.get(path)
        if known is not None:
            return known
        if not INERT.fullmatch(path):
            raise BadInput(f"weights: {self._source!r} asks for {path!r:.80}, no layer of a detector; nothing was run")
        return self._stand_ins.setdefault(path, type("StandIn", (Inert,), {"path": path}))

    def persistent_load(self, pid: object, /) -> tuple[torch.dtype, str]:
        """Return the type and the key of a storage.

        Raises:
            pickle.UnpicklingError: `pid` is not that of a storage.
        """
        match pid:
            case ("storage", torch.dtype() as dtype, str(key), str(), int()) if key.isalnum():
                return dtype, key
        raise pickle.UnpicklingError("a persistent id must be that of a storage")


class _Function:
    """A function that a pickle may call but not fill with attributes."""

    __slots__ = ("_body",)

    def __init__(self, body: Callable[..., object]) -> None:
        self._body = body

    def __call__(self, *arguments: object) -> object:
        return self._body(*arguments)

    def __setstate__(self, state: object) -> None:
        raise pickle.UnpicklingError("functions have no state")


def _stored(storage: object, offset: object, size: object, stride: object, *_: object) -> Stored:
    match storage, offset:
        case (torch.dtype() as dtype, str(key)), int():
            return Stored(dtype, key, offset, _whole(size), _whole(stride))
    raise pickle.UnpicklingError("a tensor must have a storage and an offset")


def _whole(numbers: object) -> tuple[int, ...]:
    if not isinstance(numbers, tuple) or not all(isinstance(number, int) for number in numbers):
        raise pickle.UnpicklingError("sizes and strides must be whole numbers")
    return numbers


def _of_a_type(build: object, _: object, arguments: object, *__: object) -> object:
    """Return the tensor that has attributes or a class of its own, without either."""
    if not isinstance(build, _Function) or not isinstance(arguments, tuple):
        raise pickle.UnpicklingError("a tensor must be built from a tuple")
    return build(*arguments)


FUNCTIONS: Mapping[str, _Function] = {
    "torch._utils._rebuild_tensor_v2": _Function(_stored),
    "torch._utils._rebuild_parameter": _Function(lambda tensor, *_: tensor),
    "torch._utils._rebuild_parameter_with_state": _Function(lambda tensor, *_: tensor),
    "torch._tensor._rebuild_from_type_v2": _Function(_of_a_type),
    "builtins.getattr": _Function(lambda *_: Inert()),  # as in Detect.forward
    "__builtin__.getattr": _Function(lambda *_: Inert()),
}
