"""Label files: one line for each box, `class x y width height`, the last four as fractions of the image.

Sets made for other tasks serve as well: a polygon or an oriented box, `class x1 y1 x2 y2 ...`, stands for the box
around it, and the keypoints after a box are left out.
"""

import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Labels = NDArray[np.float32]  # (n, 5): class, then centre x, centre y, width, height in [0, 1]
_TOLERANCE = 0.01  # by which a coordinate may lie outside the image, as in Ultralytics
_MIN_POLYGON = 7  # columns: the class and three corners


class LineKinds(NamedTuple):
    """What the lines of a set may be.

    Attributes:
        n_keypoint_columns: that follow a box in sets made for pose; 0 in others.
    """

    n_classes: int
    n_keypoint_columns: int = 0


class Read(NamedTuple):
    """What label files say.

    Attributes:
        labels: of each image; None where its file cannot be read.
        n_lines: in all files.
        faults: of lines that are left out, each named by file and line.
        unread: files that cannot be read; `absent` those that are not there, whose images have no boxes.
        clipped: where a box reached out of its image by at most 1 %; `polygons` where a line is one.
    """

    labels: tuple[Labels | None, ...]
    n_lines: int
    faults: tuple[str, ...]
    unread: tuple[str, ...]
    absent: tuple[str, ...]
    clipped: tuple[str, ...]
    polygons: tuple[str, ...]


class _Line(NamedTuple):
    """A line as a box (class, x, y, width, height), or what keeps it from being one."""

    box: tuple[float, ...] = ()
    fault: str = ""
    is_clipped: bool = False
    is_polygon: bool = False


def label_path(image: Path) -> Path:
    """Return where the labels of `image` are: the last folder `images` becomes `labels`, the suffix .txt."""
    head, images, tail = image.as_posix().rpartition("/images/")
    return Path(f"{head}/labels/{tail}" if images else image).with_suffix(".txt")


def read_labels(images: Sequence[Path], kinds: LineKinds, /) -> Read:
    """Return the boxes of each image; an image without a label file has none, a repeated line counts once."""
    labels: list[Labels | None] = []
    faults, unread, absent, clipped, polygons, n_lines = [], [], [], [], [], 0
    for path in map(label_path, images):
        absent += [] if os.path.lexists(path) else [str(path)]
        try:
            written = [(number, line.split()) for number, line in enumerate(_lines(path), 1) if line.strip()]
        except (OSError, UnicodeDecodeError) as error:
            unread.append(f"{path}: {'not text in UTF-8' if isinstance(error, ValueError) else error.strerror}")
            labels.append(None)
            continue
        rows = {tuple(row): (f"{path}:{number}", _read_line(row, kinds)) for number, row in reversed(written)}
        lines = list(reversed(rows.values()))
        n_lines += len(written)
        faults += [f"{place}: {line.fault}" for place, line in lines if line.fault]
        clipped += [place for place, line in lines if line.is_clipped]
        polygons += [place for place, line in lines if line.is_polygon]
        boxes = dict.fromkeys((line.box, place if line.is_polygon else "") for place, line in lines if line.box)
        labels.append(np.array([box for box, _ in boxes], np.float32).reshape(-1, 5))
    return Read(tuple(labels), n_lines, *map(tuple, (faults, unread, absent, clipped, polygons)))


def _lines(path: Path) -> list[str]:
    if not os.path.lexists(path):
        return []
    return path.read_text(encoding="utf-8-sig").splitlines()  # a link that leads nowhere is a fault


def _read_line(row: Sequence[str], kinds: LineKinds) -> _Line:
    n_columns = len(row)
    is_pose = kinds.n_keypoint_columns and n_columns == 5 + kinds.n_keypoint_columns
    is_polygon = not is_pose and n_columns >= _MIN_POLYGON and n_columns % 2 == 1
    if n_columns != 5 and not is_pose and not is_polygon:
        hint = {1: "; are its columns apart by spaces?", 6: "; is the last one the confidence of a prediction?"}
        expected = "5 columns (class, x, y, width, height), or a class and the corners of a polygon"
        return _Line(fault=f"a line must have {expected}, got {n_columns}{hint.get(n_columns, '')}")
    try:
        kind, *values = map(float, row if is_polygon else row[:5])
    except ValueError:
        return _Line(fault=f"a box must be numbers, got {' '.join(row)!r:.60}")
    if not all(map(math.isfinite, (kind, *values))):
        return _Line(fault=f"a box must be finite numbers, got {' '.join(row)!r:.60}")
    if kind != int(kind) or not 0 <= kind < kinds.n_classes:
        return _Line(fault=f"class must be an integer from 0 to {kinds.n_classes - 1}, got {row[0]:.20}")
    box = _around(values) if is_polygon else values
    if not all(-_TOLERANCE <= value <= 1 + _TOLERANCE for value in box) or (min(box[2:]) < 0):
        given = " ".join(f"{value:.4g}" for value in box)
        return _Line(fault=f"coordinates must be in [0, 1], got {given}")
    inside = _around([min(max(v, 0.0), 1.0) for v in values]) if is_polygon else [min(max(v, 0.0), 1.0) for v in box]
    if min(inside[2:]) <= 0:
        return _Line(fault=f"width and height must be above 0, got {inside[2]:.4g} and {inside[3]:.4g}")
    return _Line((kind, *inside), "", inside != box, bool(is_polygon))


def _around(corners: Sequence[float]) -> list[float]:
    """Return centre x, centre y, width and height of the box around `corners`, x and y in turn."""
    xs, ys = corners[::2], corners[1::2]
    left, right, top, bottom = min(xs), max(xs), min(ys), max(ys)
    return [(left + right) / 2, (top + bottom) / 2, right - left, bottom - top]
