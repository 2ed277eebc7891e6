"""Weights with zeros as bytes: what a network really takes on disk when its zeros are not stored.

Five ways, each of which can be read back: all of it; a bitmap of the weights, kernels or filters that are not zero and
then those; counts and columns, as compressed sparse rows have them; two bits for each of the N weights that stay of
every four along the inputs. The shortest is taken for each layer.
"""

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

Weights = NDArray[np.float32]
Shape = tuple[int, ...]
Array = NDArray[np.generic]

M = 4
_Decode = Callable[[bytes, Shape], Weights]


def encode(weights: Weights, /) -> bytes:
    """Return `weights` (out, in, ...) in the fewest bytes, of which the first says how to read the others."""
    return min((bytes([kind]) + content for kind, content in enumerate(_encodings(weights))), key=len)


def decode(content: bytes, shape: Shape, /) -> Weights:
    """Return the weights of `shape` that `encode` was given."""
    decoders: tuple[_Decode, ...] = (
        _read_dense,
        *(lambda body, shape, end=end: _read_bitmap(body, shape, end) for end in _units(shape)),
        _read_rows,
        _read_n_m,
    )
    return decoders[content[0]](content[1:], shape)


def _encodings(weights: Weights) -> Iterator[bytes]:
    yield weights.tobytes()
    for end in _units(weights.shape):
        units = weights.reshape(int(np.prod(weights.shape[:end])), -1)
        is_there = units.any(1)
        yield np.packbits(is_there).tobytes() + units[is_there].tobytes()
    yield _rows(weights.reshape(len(weights), -1))
    if weights.shape[1] % M == 0:
        yield _n_m(_groups(weights))


def _units(shape: Shape) -> tuple[int, int, int]:
    """Return how many leading dimensions count the weights, the kernels and the filters."""
    return len(shape), 2, 1


def _read_dense(body: bytes, shape: Shape) -> Weights:
    return np.frombuffer(body, np.float32).reshape(shape)


def _read_bitmap(body: bytes, shape: Shape, end: int) -> Weights:
    n_units = int(np.prod(shape[:end]))
    n_bytes = -(-n_units // 8)
    is_there = np.unpackbits(np.frombuffer(body[:n_bytes], np.uint8), count=n_units).astype(bool)
    units = np.zeros((n_units, int(np.prod(shape[end:]))), np.float32)
    units[is_there] = np.frombuffer(body[n_bytes:], np.float32).reshape(-1, units.shape[1])
    return units.reshape(shape)


def _rows(rows: Weights) -> bytes:
    """Return the counts of the rows, then the columns, then the values."""
    _, columns = np.nonzero(rows)
    kind = _index_type(rows.shape[1])
    parts: tuple[Array, ...] = ((rows != 0).sum(1).astype(kind), columns.astype(kind), rows[rows != 0])
    return b"".join(part.tobytes() for part in parts)


def _read_rows(body: bytes, shape: Shape) -> Weights:
    rows = np.zeros((shape[0], int(np.prod(shape[1:]))), np.float32)
    kind = _index_type(rows.shape[1])
    n_bytes = np.dtype(kind).itemsize
    counts = np.frombuffer(body, kind, len(rows)).astype(np.int64)
    n, start = int(counts.sum()), n_bytes * len(rows)
    columns = np.frombuffer(body, kind, n, start).astype(np.int64)
    rows[np.repeat(np.arange(len(rows)), counts), columns] = np.frombuffer(body, np.float32, n, start + n_bytes * n)
    return rows.reshape(shape)


def _index_type(n_columns: int) -> type[np.uint8 | np.uint16 | np.uint32]:
    """Return the smallest type that holds a column and a count of columns."""
    return np.uint8 if n_columns < 1 << 8 else np.uint16 if n_columns < 1 << 16 else np.uint32


def _groups(weights: Weights) -> Weights:
    """Return every M consecutive inputs of an output and a place as a row."""
    last = np.moveaxis(weights, 1, -1)
    return np.ascontiguousarray(last).reshape(-1, M)


def _n_m(groups: Weights) -> bytes:
    """Return N, the places of the N weights of each group in two bits each, and those weights."""
    n = int(np.count_nonzero(groups, 1).max(initial=0))
    places = np.sort(np.argsort(groups == 0, 1, kind="stable")[:, :n], 1).astype(np.uint8)
    bits = np.unpackbits(places[..., None], axis=-1)[..., -2:]
    return bytes([n]) + np.packbits(bits).tobytes() + np.take_along_axis(groups, places, 1).tobytes()


def _read_n_m(body: bytes, shape: Shape) -> Weights:
    n, n_groups = body[0], int(np.prod(shape)) // M
    n_bytes = -(-2 * n * n_groups // 8)
    bits = np.unpackbits(np.frombuffer(body, np.uint8, n_bytes, 1), count=2 * n * n_groups).reshape(n_groups, n, 2)
    groups = np.zeros((n_groups, M), np.float32)
    values = np.frombuffer(body, np.float32, n * n_groups, 1 + n_bytes).reshape(n_groups, n)
    np.put_along_axis(groups, (2 * bits[..., 0] + bits[..., 1]).astype(np.int64), values, 1)
    moved = (shape[0], *shape[2:], shape[1])
    return np.ascontiguousarray(np.moveaxis(groups.reshape(moved), -1, 1))
