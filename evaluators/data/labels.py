"""Label files: one line for each box, `class x y width height`, the last four as fractions of the image."""

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from spaces.errors import BadInput

Labels = NDArray[np.float32]  # (n, 5): class, then centre x, centre y, width, height in [0, 1]


def label_path(image: Path) -> Path:
    """Return where the labels of `image` are: the last folder `images` becomes `labels`, the suffix .txt."""
    head, images, tail = image.as_posix().rpartition("/images/")
    return Path(f"{head}/labels/{tail}" if images else image).with_suffix(".txt")


def read_labels(images: Sequence[Path], *, n_classes: int) -> tuple[Labels, ...]:
    """Return the boxes of each image; an image without a label file has none, a repeated line counts once.

    Raises:
        BadInput: lines that are no boxes; it says how many, and names the first by file and line.
    """
    labels, faults = [], []
    for path in map(label_path, images):
        rows = [(number, line.split()) for number, line in enumerate(_lines(path), 1) if line.strip()]
        found = [f"{path}:{number}: {fault}" for number, row in rows if (fault := _fault(row, n_classes))]
        faults += found
        boxes = {} if found else {tuple(map(float, row)): None for _, row in rows}
        labels.append(np.array(list(boxes), np.float32).reshape(-1, 5))
    if faults:
        raise BadInput(f"{faults[0]} ({len(faults)} bad label line{'s' * (len(faults) > 1)} in all)")
    return tuple(labels)


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8-sig").splitlines()
    except FileNotFoundError:
        return []
    except UnicodeDecodeError as error:
        raise BadInput(f"{path}: must be text in UTF-8, byte {error.start} is not") from error


def _fault(row: Sequence[str], n_classes: int) -> str:
    """Return what keeps `row` from being a box, empty when nothing does."""
    if len(row) != 5:
        hint = "; segments and keypoints are not supported" if len(row) > 5 else ""
        return f"a box must have 5 columns (class, x, y, width, height), got {len(row)}{hint}"
    try:
        kind, *box = map(float, row)
    except ValueError:
        return f"a box must be numbers, got {' '.join(row)!r:.60}"
    if not math.isfinite(kind) or kind != int(kind) or not 0 <= kind < n_classes:
        return f"class must be an integer from 0 to {n_classes - 1}, got {row[0]}"
    if not all(0 <= value <= 1 for value in box):
        return f"coordinates must be in [0, 1], got {' '.join(row[1:])}"
    if min(box[2:]) <= 0:
        return f"width and height must be above 0, got {row[3]} and {row[4]}"
    return ""
