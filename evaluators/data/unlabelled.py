"""Images without boxes: a folder of them, or a .txt file that lists them."""

from pathlib import Path
from typing import NamedTuple

import numpy as np

from evaluators.data.dataset import Dataset, Sample, find_readable, fingerprint_of
from evaluators.data.image_files import find_shared
from spaces.errors import BadInput


class Unlabelled(NamedTuple):
    """Images without boxes.

    Attributes:
        fingerprint: 16 hexadecimal digits that change with their names and sizes in bytes.
        warnings: what was left out, a line each.
    """

    samples: tuple[Sample, ...]
    fingerprint: str
    warnings: tuple[str, ...]


def load_unlabelled(folder: Path, dataset: Dataset, /) -> Unlabelled:
    """Return the images in `folder`, or those that a .txt file lists, without boxes.

    What is in `dataset` too, byte by byte, is left out, and so are unreadable ones while they are at most 10 %.

    Raises:
        BadInput: there is no image, or none is left.
    """
    try:
        return _load(folder, dataset)
    except OSError as error:
        raise BadInput(f"{error.filename or folder}: cannot be read: {error.strerror}") from error


def _load(folder: Path, dataset: Dataset) -> Unlabelled:
    where = f"images={str(folder)!r}"
    images, warnings = find_readable([folder], where=where)
    known = [sample.image for sample in (*dataset.train, *dataset.val)]
    shared = dict(find_shared(images, known))
    if shared:
        told = f"{len(shared)} of {len(images)}, first {next(iter(shared))}"
        warnings.append(f"{where}: images that are in train or val too: {told}; left out")
    left = [image for image in images if image not in shared]
    if not left:
        raise BadInput(f"{where} has no image that is not in train or val")
    samples = tuple(Sample(image, np.zeros((0, 5), np.float32)) for image in left)
    return Unlabelled(samples, fingerprint_of((), {"images": samples}), tuple(warnings))
