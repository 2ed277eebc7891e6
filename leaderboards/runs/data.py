"""The data of a run: a labelled set, or images whose truth is what the parent finds on them, or none at all."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
from ultralytics.nn.tasks import DetectionModel

from evaluators.accuracy.ceiling import ceiling_sentence
from evaluators.accuracy.detection import predict
from evaluators.data.data_yaml import find_data_yaml
from evaluators.data.dataset import Dataset, Sample, load_dataset
from evaluators.data.digits import render_digits
from evaluators.data.holdout import Holdout, split_holdout
from evaluators.data.images import load_images
from evaluators.data.unlabelled import load_unlabelled, load_unlabelled_set
from leaderboards.recipes.keys import EMBEDDED, NO_DATA
from leaderboards.recipes.parts import Sources
from spaces.detectors.embedded import ROOT
from spaces.errors import BadInput

MIN_SCORE = 0.25  # of what the parent finds and is taken for true, as Ultralytics shows it
_IMAGES_AT_ONCE = 32


class Data(NamedTuple):
    """A data set, and its train split in two parts."""

    dataset: Dataset
    holdout: Holdout


def load_data(sources: Sources, parent: DetectionModel, /, *, names: tuple[str, ...], imgsz: int) -> Data:
    """Return the data that a recipe names.

    Args:
        parent: what judges images without labels; `names` are its classes.

    Raises:
        BadInput: it cannot be used.
    """
    if sources.data == NO_DATA:
        return _without_images(names)
    yaml = render_digits(ROOT / "datasets") if sources.data == EMBEDDED else find_data_yaml(Path(sources.data))
    if yaml is None:
        data = _judged_by_parent(sources, parent, names=names, imgsz=imgsz)
    else:
        dataset = _renamed(load_dataset(yaml, needs_train_labels=sources.reads_boxes), sources.names)
        holdout = split_holdout(dataset.train, n_holdout=sources.search_images, seed=sources.seed)
        data = Data(replace(dataset, warnings=(*dataset.warnings, *ceiling_sentence(dataset))), holdout)
    if sources.reads_boxes and not any(len(sample.labels) for sample in data.holdout.search):
        raise BadInput(f"data: none of the {len(data.holdout.search)} train images that rank candidates has a box")
    return data if sources.images is None else _joined(data, Path(sources.images))


def _without_images(names: tuple[str, ...]) -> Data:
    said = "no data is named: what needs images saw noise"
    return Data(Dataset(Path(), names, (), (), "", (said,)), Holdout((), ()))


def _renamed(dataset: Dataset, names: tuple[str, ...]) -> Dataset:
    if not names:
        return dataset
    if len(names) != len(dataset.names):
        raise BadInput(f"names must be those of the {len(dataset.names)} classes of the data, got {len(names)}")
    return replace(dataset, names=names)


def _judged_by_parent(sources: Sources, parent: DetectionModel, /, *, names: tuple[str, ...], imgsz: int) -> Data:
    """Return images without labels; of those that are measured on, what `parent` finds is taken for true."""
    dataset = load_unlabelled_set(Path(sources.data), names, seed=sources.seed)
    search, rest = split_holdout(dataset.train, n_holdout=sources.search_images, seed=sources.seed)
    search, val = (tuple(_found(parent, samples, imgsz=imgsz)) for samples in (search, dataset.val))
    if not any(len(sample.labels) for sample in val) or not any(len(sample.labels) for sample in search):
        raise BadInput(
            f"data: {sources.data!r} has no labels, and the parent finds nothing with a score of {MIN_SCORE} in the "
            "images that would be measured on"
        )
    return Data(replace(dataset, train=(*search, *rest), val=val), Holdout(search, rest))


def _found(parent: DetectionModel, samples: Sequence[Sample], *, imgsz: int) -> Iterator[Sample]:
    """Yield `samples` with what `parent` finds as their labels."""
    for start in range(0, len(samples), _IMAGES_AT_ONCE):
        part = samples[start : start + _IMAGES_AT_ONCE]
        images = load_images(part, imgsz=imgsz)
        for sample, found, (height, width) in zip(part, predict(parent, images), images.shapes, strict=True):
            sure = found[found[:, 4] >= MIN_SCORE]
            left, top, right, bottom = sure[:, :4].T / np.array([[width], [height], [width], [height]])
            boxes = np.stack([sure[:, 5], (left + right) / 2, (top + bottom) / 2, right - left, bottom - top], 1)
            yield replace(sample, labels=boxes[(boxes[:, 3:] > 0).all(1)].astype(np.float32))


def _joined(data: Data, folder: Path) -> Data:
    """Return `data` with the unlabelled images of `folder` among those that calibrate and train."""
    dataset, (search, rest) = data
    unlabelled = load_unlabelled(folder, dataset)
    said = f"{len(unlabelled.samples)} unlabelled images calibrate and train beside those of train."
    joined = replace(
        dataset,
        fingerprint=f"{dataset.fingerprint}+{unlabelled.fingerprint}",
        warnings=(*dataset.warnings, *unlabelled.warnings, said),
    )
    return Data(joined, Holdout(search, (*rest, *unlabelled.samples)))
