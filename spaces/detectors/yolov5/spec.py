"""What a YOLOv5 specification says, checked: a description from outside must not do anything but describe layers.

The form is YOLOv5's: nc, depth_multiple, width_multiple, anchors, and backbone and head as rows of
[from, repeats, layer, arguments]. A width is its multiple of c rounded up to 8, a depth the nearest whole number.
"""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeGuard

from spaces.errors import BadInput

Argument = int | float | str | bool | None | list[int]

MAX_ROWS = 200
MAX_REPEATS = 500  # over all rows
MAX_WIDTH = 8192
MAX_NUMBER = 16_384  # of any other number in a row
MAX_CLASSES = 10_000
_MAX_ARGUMENTS = 8


@dataclass(frozen=True)
class Row:
    """One layer.

    Attributes:
        source: what it reads, as written: -1 is the layer before.
        repeats: how often, scaled.
        layer: its name.
        arguments: as written.
    """

    source: int | list[int]
    repeats: int
    layer: str
    arguments: tuple[Argument, ...]

    def sources(self, index: int, /) -> list[int]:
        """Return which layers it reads if it is layer `index`; -1 is the image."""
        return [source if source >= 0 else index + source for source in self._written()]

    def remembered(self, index: int, /) -> list[int]:
        """Return those of its sources that must be kept for it: all but what the layer before it hands on."""
        return [source for source, written in zip(self.sources(index), self._written(), strict=True) if written != -1]

    def _written(self) -> list[int]:
        return self.source if isinstance(self.source, list) else [self.source]


@dataclass(frozen=True)
class Spec:
    """A checked specification.

    Attributes:
        anchors: of each level the widths and heights in pixels.
    """

    n_classes: int
    width_multiple: float
    anchors: list[list[float]]
    rows: tuple[Row, ...]

    def width(self, written: object, /) -> int:
        """Return the width that `written` stands for.

        Raises:
            BadInput: it is no width, or too large.
        """
        if not _is_number(written) or not 0 < written <= MAX_WIDTH:
            raise BadInput(f"a width must be from 1 to {MAX_WIDTH}, got {written!r:.60}")
        scaled = math.ceil(written * self.width_multiple / 8) * 8
        if scaled > MAX_WIDTH:
            raise BadInput(f"a width must be at most {MAX_WIDTH}, got {scaled}")
        return scaled


def read_spec(record: Mapping[str, object], layers: Collection[str], /) -> Spec:
    """Return what `record` describes with the known `layers`.

    Raises:
        BadInput: a key or a row is missing, of another form or out of bounds, or a layer is unknown.
    """
    if record.get("activation") not in (None, "nn.SiLU()"):
        raise BadInput(f"activation must be nn.SiLU(), got {record['activation']!r:.60}")
    n_classes = record.get("nc")
    if not _is_whole(n_classes) or not 1 <= n_classes <= MAX_CLASSES:
        raise BadInput(f"nc must be a whole number from 1 to {MAX_CLASSES}, got {n_classes!r:.60}")
    depth, width = (_multiple(record, name) for name in ("depth_multiple", "width_multiple"))
    written = [row for section in ("backbone", "head") for row in _section(record, section)]
    rows = tuple(_row(row, index, depth, layers) for index, row in enumerate(written))
    if not 2 <= len(rows) <= MAX_ROWS or sum(row.repeats for row in rows) > MAX_REPEATS:
        raise BadInput(f"a network must have 2 to {MAX_ROWS} rows and at most {MAX_REPEATS} layers, got {len(rows)}")
    if [index for index, row in enumerate(rows) if row.layer == "Detect"] != [len(rows) - 1]:
        raise BadInput("the last row, and no other, must be a Detect")
    return Spec(n_classes, width, _anchors(record.get("anchors"), rows[-1]), rows)


def _multiple(record: Mapping[str, object], name: str) -> float:
    value = record.get(name)
    if not _is_number(value) or not 0 < value <= 8:
        raise BadInput(f"{name} must be above 0 and at most 8, got {value!r:.60}")
    return float(value)


def _section(record: Mapping[str, object], name: str) -> Sequence[object]:
    rows = record.get(name)
    if not isinstance(rows, list | tuple):
        raise BadInput(f"{name} must be a list of [from, repeats, layer, arguments]")
    return rows[: MAX_ROWS + 1]


def _row(written: object, index: int, depth: float, layers: Collection[str]) -> Row:
    if not isinstance(written, list | tuple) or len(written) != 4:
        raise BadInput(f"row {index} must be [from, repeats, layer, arguments], got {written!r:.60}")
    source, repeats, layer, arguments = written
    if not isinstance(layer, str) or layer not in layers:
        raise BadInput(f"row {index} must name a layer of {', '.join(layers)}, got {layer!r:.60}")
    if not _is_whole(repeats) or not 1 <= repeats <= MAX_REPEATS:
        raise BadInput(f"row {index} must repeat 1 to {MAX_REPEATS} times, got {repeats!r:.60}")
    if not _is_source(source, index):
        raise BadInput(f"row {index} must read rows before it, got {source!r:.60}")
    if layer == "Detect":
        arguments = ()  # it takes the classes and the anchors of the whole specification
    if not isinstance(arguments, list | tuple) or len(arguments) > _MAX_ARGUMENTS:
        raise BadInput(f"row {index} must have a list of at most {_MAX_ARGUMENTS} arguments, got {arguments!r:.60}")
    if not all(_is_argument(argument) for argument in arguments):
        raise BadInput(f"row {index} may have small numbers, flags and names as arguments, got {arguments!r:.60}")
    return Row(source, max(round(repeats * depth), 1), layer, tuple(None if a == "None" else a for a in arguments))


def _anchors(written: object, head: Row) -> list[list[float]]:
    """Return the checked anchors, equally many pairs for each level that `head` reads."""
    if not isinstance(head.source, list):
        raise BadInput(f"a Detect must read a list of rows, got {head.source!r:.60}")
    if not isinstance(written, list | tuple) or len(written) != len(head.source):
        raise BadInput(f"anchors must be {len(head.source)} lists, one for each level, got {written!r:.60}")
    lengths = {len(level) if isinstance(level, list | tuple) else 0 for level in written}
    if len(lengths) != 1 or not 2 <= (length := lengths.pop()) <= 64 or length % 2:
        raise BadInput(f"anchors must be as many widths and heights for each level, got {written!r:.60}")
    if not all(_is_number(side) and 0 < side <= MAX_NUMBER for level in written for side in level):
        raise BadInput(f"anchors must be sides in pixels, above 0 and at most {MAX_NUMBER}, got {written!r:.60}")
    return [[float(side) for side in level] for level in written]


def _is_whole(value: object) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: object) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= MAX_NUMBER  # never NaN


def _is_source(value: object, index: int) -> bool:
    if index == 0:
        return bool(value == -1)  # the image
    listed = value if isinstance(value, list) else [value]
    return 0 < len(listed) <= MAX_ROWS and all(_is_whole(one) and -index <= one < index for one in listed)


def _is_argument(value: object) -> bool:
    if isinstance(value, list | tuple):
        return len(value) <= _MAX_ARGUMENTS and all(_is_whole(one) and 0 < one <= MAX_NUMBER for one in value)
    return value is None or isinstance(value, bool) or _is_number(value) or (isinstance(value, str) and len(value) < 20)
