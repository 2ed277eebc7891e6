"""A data set: its samples, checked before anything is computed from them.

Single faults (an unreadable image, a line that is no box, a picture of val in train) are left out, counted, and said
once; what would make a later step fail or lie, and faults of more than a tenth, are refused with a line that names one.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from evaluators.data.data_yaml import read_data_yaml
from evaluators.data.decoding import HEIF, find_unreadable
from evaluators.data.image_files import find_images, find_shared
from evaluators.data.labels import Labels, LineKinds, label_path, read_labels
from spaces.errors import BadInput

_MAX_LEFT_OUT = 0.1  # share of a split


@dataclass(frozen=True, eq=False)
class Sample:
    """One labelled image.

    Attributes:
        image: its absolute path.
        labels: float32 (n, 5): class, then centre x, centre y, width, height as fractions of the image.
    """

    image: Path
    labels: Labels


@dataclass(frozen=True, eq=False)
class Dataset:
    """A checked data set.

    Attributes:
        names: class names by class number.
        fingerprint: 16 hexadecimal digits that change with class names, labels, and image names and sizes in bytes.
        warnings: what was left out, a line each.
        is_labelled: whether the boxes of val are labels, not what a network finds.
    """

    yaml: Path
    names: tuple[str, ...]
    train: tuple[Sample, ...]
    val: tuple[Sample, ...]
    fingerprint: str
    warnings: tuple[str, ...]
    is_labelled: bool = True


def load_dataset(path: Path, *, needs_train_labels: bool = True) -> Dataset:
    """Return the data set that the data yaml at `path` describes.

    The labels of an image are in the file at its path with the last folder `images` replaced by `labels` and the
    suffix by .txt; without that file it has no boxes. Images that cannot be read, and lines that are no box, are left
    out while they are at most 10 % of a split; so are pictures of train that val has too. A warning counts each kind
    and names the first. Val must have boxes, train only if `needs_train_labels`.

    Raises:
        BadInput: the yaml, an image or a label cannot be used.
    """
    try:
        return _load(path, needs_train_labels=needs_train_labels)
    except OSError as error:  # from whichever of the many files it comes
        raise BadInput(f"{error.filename or path}: cannot be read: {error.strerror}") from error


def find_readable(sources: Sequence[Path], *, where: str) -> tuple[tuple[Path, ...], list[str]]:
    """Return the images in `sources` that can be read, and what is to be said of the others, a line each.

    Raises:
        BadInput: there are none, or more than 10 % are missing or unreadable.
    """
    images, missing, doubled, others = find_images(sources, where=where)
    unreadable = find_unreadable(images)
    n_images, odd = len(images) + len(missing), [*missing, *map(str, unreadable)]
    needs_plugin = any(image.suffix.lower() in HEIF for image in unreadable)
    hint = " (HEIC needs the package pi-heif)" if needs_plugin else ""
    warnings = [
        *_few(odd, n_images, f"{where}: images that are not there or cannot be read{hint}"),
        *_counted(doubled, len(images), f"{where}: images that are named twice and count once"),
        *_counted(
            others,
            len(images) + len(others),
            f"{where}: labelled files, or lines of a list, that are no images by their suffix",
        ),
    ]
    left_out = set(unreadable)
    return tuple(image for image in images if image not in left_out), warnings


def fingerprint_of(names: tuple[str, ...], splits: Mapping[str, Sequence[Sample]]) -> str:
    """Return 16 hexadecimal digits that change with names, labels, and image names and sizes in bytes."""
    return hashlib.sha256(b"".join(_parts(names, splits))).hexdigest()[:16]


def _load(path: Path, *, needs_train_labels: bool) -> Dataset:
    described = read_data_yaml(path)
    kinds = LineKinds(len(described.names), described.n_keypoint_columns)
    train, told_train = find_readable(described.train, where=f"{path}: train")
    val, told_val = find_readable(described.val, where=f"{path}: val")
    train, told_shared = _apart(train, val, where=f"{path}: train")
    splits, warnings = {}, [*described.warnings, *told_train, *told_val, *told_shared]
    for split, images in (("train", train), ("val", val)):
        splits[split], told = _label(images, kinds, where=f"{path}: {split}")
        warnings += told
        if split == "val" or needs_train_labels:
            _refuse_empty(splits[split], f"{path}: {split}")
    fingerprint = fingerprint_of(described.names, splits)
    return Dataset(path, described.names, splits["train"], splits["val"], fingerprint, tuple(warnings))


def _apart(train: Sequence[Path], val: Sequence[Path], *, where: str) -> tuple[tuple[Path, ...], list[str]]:
    """Return `train` without the pictures that `val` has too, and what is to be said of them."""
    twins = dict(find_shared(train, val))
    told = [f"{image} is the same as {twin}" for image, twin in twins.items()]
    warnings = _few(told, len(train), f"{where}: images that are in val too")
    return tuple(image for image in train if image not in twins), warnings


def _label(images: Sequence[Path], kinds: LineKinds, *, where: str) -> tuple[tuple[Sample, ...], list[str]]:
    read = read_labels(images, kinds)
    warnings = [
        *_few(read.unread, len(images), f"{where}: images whose labels cannot be read"),
        *_few(read.faults, read.n_lines, f"{where}: label lines that are no box"),
        *_counted(read.absent, len(images), f"{where}: images without a label file, which have no boxes"),
        *_counted(read.clipped, read.n_lines, f"{where}: boxes clipped, as they leave their image by at most 1 %"),
        *_counted(read.polygons, read.n_lines, f"{where}: polygons, read as the boxes around them"),
    ]
    labelled = zip(images, read.labels, strict=True)
    return tuple(Sample(image, boxes) for image, boxes in labelled if boxes is not None), warnings


def _few(odd: Sequence[str], n: int, message: str) -> list[str]:
    """Return that so many of `n` are left out, if any are, or raise BadInput when they are more than 10 %."""
    told = _counted(odd, n, message)
    if len(odd) > _MAX_LEFT_OUT * n:
        raise BadInput(f"{told[0]}; at most 10 % may be so")
    return [f"{one}; left out" for one in told]


def _counted(odd: Sequence[object], n: int, message: str) -> list[str]:
    """Return `message` with how many of `n` are odd, and the first of them, if there are any."""
    return [f"{message}: {len(odd)} of {n}, first {odd[0]}"] if odd else []


def _refuse_empty(samples: Sequence[Sample], where: str) -> None:
    if not any(len(sample.labels) for sample in samples):
        looked = f"; first looked in {label_path(samples[0].image)}" if samples else ""
        raise BadInput(f"{where} must have boxes, got none in {len(samples)} images{looked}")


def _parts(names: tuple[str, ...], splits: Mapping[str, Sequence[Sample]]) -> Iterator[bytes]:
    yield json.dumps(names).encode()
    for split, samples in splits.items():
        for sample in samples:
            size = sample.image.stat().st_size
            yield f"\n{split}/{sample.image.name} {size} {sample.labels.tolist()}".encode()
