"""Images without boxes: a folder of them, or a .txt file that lists them, beside a data set or in its place."""

from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from evaluators.data.dataset import Dataset, Sample, find_readable, fingerprint_of
from evaluators.data.image_files import find_shared
from spaces.errors import BadInput

VAL_PART = 5  # of so many images one is val
MAX_VAL = 500


class Unlabelled(NamedTuple):
    """Images without boxes.

    Attributes:
        fingerprint: 16 hexadecimal digits that change with their names and sizes in bytes.
        warnings: what was left out, a line each.
    """

    samples: tuple[Sample, ...]
    fingerprint: str
    warnings: tuple[str, ...]


def load_unlabelled_set(source: Path, names: tuple[str, ...], /, *, seed: int) -> Dataset:
    """Return the images in `source` as a data set of these classes without boxes, a fifth of them as val.

    Raises:
        BadInput: there are fewer than 5, or more than 10 % of them cannot be read.
    """
    where = f"data={str(source)!r}"
    images, warnings = _read(source, where=where)
    if len(images) < VAL_PART:
        raise BadInput(f"{where} must have at least {VAL_PART} images, got {len(images)}")
    order = np.random.default_rng([seed, 2]).permutation(len(images))[: min(len(images) // VAL_PART, MAX_VAL)]
    chosen = {images[index] for index in order}
    val, train = _bare(sorted(chosen)), _bare(image for image in images if image not in chosen)
    told = f"{where} has no labels: nothing is judged by them, what the parent finds is taken for true"
    fingerprint = fingerprint_of(names, {"train": train, "val": val})
    return Dataset(source, names, train, val, fingerprint, (*warnings, told), is_labelled=False)


def load_unlabelled(folder: Path, dataset: Dataset, /) -> Unlabelled:
    """Return the images in `folder`, or those that a .txt file lists, without boxes.

    What is in `dataset` too, byte by byte, is left out, and so are unreadable ones while they are at most 10 %.

    Raises:
        BadInput: there is no image, or none is left.
    """
    where = f"images={str(folder)!r}"
    images, warnings = _read(folder, where=where)
    known = [sample.image for sample in (*dataset.train, *dataset.val)]
    shared = dict(find_shared(images, known))
    if shared:
        told = f"{len(shared)} of {len(images)}, first {next(iter(shared))}"
        warnings.append(f"{where}: images that are in train or val too: {told}; left out")
    samples = _bare(image for image in images if image not in shared)
    if not samples:
        raise BadInput(f"{where} has no image that is not in train or val")
    return Unlabelled(samples, fingerprint_of((), {"images": samples}), tuple(warnings))


def _read(source: Path, *, where: str) -> tuple[tuple[Path, ...], list[str]]:
    try:
        return find_readable([source], where=where)
    except OSError as error:
        raise BadInput(f"{error.filename or source}: cannot be read: {error.strerror}") from error


def _bare(images: Iterable[Path]) -> tuple[Sample, ...]:
    return tuple(Sample(image, np.zeros((0, 5), np.float32)) for image in images)
