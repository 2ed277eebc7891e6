"""A data set: its samples, checked before anything is computed from them.

Whatever would make a later step fail or lie (no boxes, a class that does not exist, the same picture in train and in
val) is refused here, with one line that names the file.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from evaluators.data.data_yaml import read_data_yaml
from evaluators.data.image_files import find_images, find_shared, find_unreadable
from evaluators.data.labels import Labels, label_path, read_labels
from spaces.errors import BadInput

_MAX_UNREADABLE = 0.01  # share of a split


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
    """

    yaml: Path
    names: tuple[str, ...]
    train: tuple[Sample, ...]
    val: tuple[Sample, ...]
    fingerprint: str
    warnings: tuple[str, ...]


class Unlabelled(NamedTuple):
    """Images without boxes.

    Attributes:
        fingerprint: 16 hexadecimal digits that change with their names and sizes in bytes.
        warnings: what was left out, a line each.
    """

    samples: tuple[Sample, ...]
    fingerprint: str
    warnings: tuple[str, ...]


class Holdout(NamedTuple):
    """Train in two parts: what ranks candidates, and what calibrates them. Fine-tuning reads both."""

    search: tuple[Sample, ...]
    rest: tuple[Sample, ...]


def load_dataset(path: Path, *, needs_train_labels: bool = True) -> Dataset:
    """Return the data set that the data yaml at `path` describes.

    The labels of an image are in the file at its path with the last folder `images` replaced by `labels` and the
    suffix by .txt; without that file it has no boxes. Unreadable images are left out while they are at most 1 % of a
    split, and a warning names the first. Val must have boxes, train only if `needs_train_labels`.

    Raises:
        BadInput: the yaml, an image or a label cannot be used.
    """
    try:
        return _load(path, needs_train_labels=needs_train_labels)
    except OSError as error:  # from whichever of the many files it comes
        raise BadInput(f"{error.filename or path}: cannot be read: {error.strerror}") from error


def load_unlabelled(folder: Path, dataset: Dataset, /) -> Unlabelled:
    """Return the images in `folder`, or those that a .txt file lists, without boxes.

    What is in `dataset` too, byte by byte, is left out, and so are unreadable ones while they are at most 1 %.

    Raises:
        BadInput: there is no image, or none is left.
    """
    where = f"images={str(folder)!r}"
    images, warnings = _readable([folder], where=where)
    known = [sample.image for sample in (*dataset.train, *dataset.val)]
    shared = {image for image, _ in find_shared(known, images)}
    if shared:
        warnings.append(f"{where} has {len(shared)} of {len(images)} images that are in train or val too; left out")
    left = [image for image in images if image not in shared]
    if not left:
        raise BadInput(f"{where} has no image that is not in train or val")
    samples = tuple(Sample(image, np.zeros((0, 5), np.float32)) for image in left)
    return Unlabelled(samples, _fingerprint((), {"images": samples}), tuple(warnings))


def split_holdout(samples: Sequence[Sample], *, n_holdout: int, seed: int) -> Holdout:
    """Return `samples` in two parts, the first with `n_holdout` of them but never more than a third.

    Held out are first images that cover the classes, the rarest first, then others with boxes, then others. An image
    that alone has some class stays in `rest` as long as there are others to hold out.

    Raises:
        BadInput: fewer than 3 samples.
        ValueError: `n_holdout` is below 1.
    """
    if n_holdout < 1:
        raise ValueError(f"n_holdout must be at least 1, got {n_holdout}")
    if len(samples) < 3:
        raise BadInput(f"train must have at least 3 images for one to be held out, got {len(samples)}")
    classes = [frozenset(sample.labels[:, 0].astype(int).tolist()) for sample in samples]
    order = sorted(np.random.default_rng(seed).permutation(len(samples)).tolist(), key=lambda index: not classes[index])
    held = _hold_out(classes, order, count=min(n_holdout, len(samples) // 3))
    rest = tuple(sample for index, sample in enumerate(samples) if index not in held)
    return Holdout(tuple(samples[index] for index in sorted(held)), rest)


def _load(path: Path, *, needs_train_labels: bool) -> Dataset:
    described = read_data_yaml(path)
    splits: dict[str, tuple[Path, ...]] = {}
    warnings: list[str] = []
    for split, sources in (("train", described.train), ("val", described.val)):
        splits[split], told = _readable(sources, where=f"{path}: {split}")
        warnings += told
    _refuse_shared(splits["train"], splits["val"], path)
    samples = {split: _label(images, len(described.names)) for split, images in splits.items()}
    for split in ("train", "val") if needs_train_labels else ("val",):
        _refuse_empty(samples[split], f"{path}: {split}")
    fingerprint = _fingerprint(described.names, samples)
    return Dataset(path, described.names, samples["train"], samples["val"], fingerprint, tuple(warnings))


def _hold_out(classes: Sequence[frozenset[int]], order: Sequence[int], *, count: int) -> frozenset[int]:
    left = Counter(kind for kinds in classes for kind in kinds)  # images of each class that are not held out
    held: set[int] = set()

    def hold_first(candidates: Sequence[int]) -> None:
        for index in candidates:
            if len(held) < count and index not in held and all(left[kind] > 1 for kind in classes[index]):
                held.add(index)
                left.subtract(classes[index])
                return

    for kind, _ in reversed(left.most_common()):
        with_kind = [index for index in order if kind in classes[index]]
        if held.isdisjoint(with_kind):
            hold_first(with_kind)
    for index in order:
        hold_first([index])
    held.update([index for index in order if index not in held][: count - len(held)])
    return frozenset(held)


def _readable(sources: Sequence[Path], *, where: str) -> tuple[tuple[Path, ...], list[str]]:
    """Return the images in `sources` that can be read, and the warning about the others if there are any."""
    images = find_images(sources, where=where)
    unreadable = find_unreadable(images)
    warnings = _judge(unreadable, len(images), where=where)
    left_out = set(unreadable)
    return tuple(image for image in images if image not in left_out), warnings


def _judge(unreadable: Sequence[Path], n_images: int, *, where: str) -> list[str]:
    """Return the warning about `unreadable` images, or raise when they are too many."""
    if not unreadable:
        return []
    message = f"{where} has {len(unreadable)} of {n_images} images that cannot be read, first {unreadable[0]}"
    if len(unreadable) > _MAX_UNREADABLE * n_images:
        raise BadInput(f"{message}; at most 1 % may be so")
    return [f"{message}; left out"]


def _refuse_shared(train: Sequence[Path], val: Sequence[Path], path: Path) -> None:
    shared = find_shared(train, val)
    if shared:
        image, twin = shared[0]
        raise BadInput(f"{path}: train and val must not share images, got {len(shared)}: {image} is the same as {twin}")


def _refuse_empty(samples: Sequence[Sample], where: str) -> None:
    if not any(len(sample.labels) for sample in samples):
        looked = label_path(samples[0].image)
        raise BadInput(f"{where} must have boxes, got none in {len(samples)} images; first looked in {looked}")


def _label(images: Sequence[Path], n_classes: int) -> tuple[Sample, ...]:
    labels = read_labels(images, n_classes=n_classes)
    return tuple(Sample(image, boxes) for image, boxes in zip(images, labels, strict=True))


def _fingerprint(names: tuple[str, ...], splits: Mapping[str, Sequence[Sample]]) -> str:
    return hashlib.sha256(b"".join(_parts(names, splits))).hexdigest()[:16]


def _parts(names: tuple[str, ...], splits: Mapping[str, Sequence[Sample]]) -> Iterator[bytes]:
    yield json.dumps(names).encode()
    for split, samples in splits.items():
        for sample in samples:
            size = sample.image.stat().st_size
            yield f"\n{split}/{sample.image.name} {size} {sample.labels.tolist()}".encode()
