"""What a recipe names, loaded and checked."""

from dataclasses import replace
from pathlib import Path

import torch

from evaluators.data.dataset import Dataset, load_dataset
from evaluators.data.digits import render_digits
from evaluators.data.holdout import Holdout, split_holdout
from evaluators.data.unlabelled import Unlabelled, load_unlabelled
from evaluators.devices.device_file import DeviceFile, read_device_file
from leaderboards.recipes.keys import EMBEDDED
from leaderboards.recipes.parts import Bases, Parts, Sources
from leaderboards.runs.problem import Inputs, fingerprint
from leaderboards.runs.rivals import load_rivals
from spaces.bits.simulation import MIN_IMAGES
from spaces.detectors.backbones.pretrained import check_pretrained
from spaces.detectors.detector import load_detector
from spaces.detectors.embedded import EMBEDDED_PARENT, ROOT
from spaces.errors import BadInput


def load_inputs(parts: Parts, /) -> Inputs:
    """Return the data and the detector that a recipe names.

    Raises:
        BadInput: the device, the data, the weights, those of backbones or the device file cannot be used, or do not
            belong together.
    """
    sources = parts.sources
    _check_device(parts.place.device)
    if parts.bases.weights is not None:
        check_pretrained(parts.bases.weights, parts.bases.backbones)
    yaml = render_digits(ROOT / "datasets") if sources.data == EMBEDDED else Path(sources.data)
    dataset = load_dataset(yaml, needs_train_labels=sources.reads_boxes)
    holdout = split_holdout(dataset.train, n_holdout=sources.search_images, seed=sources.seed)
    if sources.images is not None:
        dataset, holdout = _joined(dataset, holdout, load_unlabelled(Path(sources.images), dataset))
    n_calibration = min(parts.making.calibration_images, len(holdout.rest))
    if parts.cutting.weight_bits and n_calibration < MIN_IMAGES:
        raise BadInput(f"bits: ranges need at least {MIN_IMAGES} calibration images, there are {n_calibration}")
    if sources.reads_boxes and not any(len(sample.labels) for sample in holdout.search):
        raise BadInput(f"data: none of the {len(holdout.search)} train images that rank candidates has a box")
    path = EMBEDDED_PARENT if sources.weights == EMBEDDED else Path(sources.weights)
    parent, architecture = load_detector(path)
    if architecture.bits:
        raise BadInput(
            f"weights: {sources.weights!r} hold a network of few bits, and what is searched must be in float"
        )
    if architecture.names != dataset.names:
        raise BadInput(_names_differ(architecture.names, dataset.names, sources))
    digest = fingerprint(path)
    device = _device(sources, parts.bases, parent=digest, is_limited="latency_ms" in parts.limits)
    rivals = load_rivals(sources.rivals, dataset.names)
    return Inputs(dataset, holdout, parent, architecture, sources.weights, digest, device, rivals)


def _joined(dataset: Dataset, holdout: Holdout, unlabelled: Unlabelled) -> tuple[Dataset, Holdout]:
    """Return both with the `unlabelled` images among those that calibrate and train."""
    said = f"{len(unlabelled.samples)} unlabelled images calibrate and train beside those of train."
    joined = replace(
        dataset,
        fingerprint=f"{dataset.fingerprint}+{unlabelled.fingerprint}",
        warnings=(*dataset.warnings, *unlabelled.warnings, said),
    )
    return joined, Holdout(holdout.search, (*holdout.rest, *unlabelled.samples))


def _device(sources: Sources, bases: Bases, /, *, parent: str, is_limited: bool) -> DeviceFile | None:
    """Return the device file that is named, made for these weights and fit for what is asked of it."""
    if sources.device_file is None:
        return None
    if len(bases.backbones) > 1 or bases.depth or bases.image_sizes:
        raise BadInput(
            "device_file is of the user's own network at one size: leave out backbones, depth and image_sizes"
        )
    device = read_device_file(Path(sources.device_file))
    device.check_use(parent=parent, imgsz=bases.imgsz, threads=1)
    warning = device.foreign()
    if warning and is_limited and not sources.allow_foreign_device:
        raise BadInput(f"{warning}; make one here with bench latency, or set allow_foreign_device=true")
    return device


def _check_device(device: str) -> None:
    if device == "cpu":
        return
    index = int(device.partition(":")[2] or 0)
    if index >= torch.cuda.device_count():
        there = ", ".join(["cpu", *(str(number) for number in range(torch.cuda.device_count()))])
        raise BadInput(f"device {index} is not there; this machine has {there}")


def _names_differ(ours: tuple[str, ...], theirs: tuple[str, ...], sources: Sources) -> str:
    if len(ours) != len(theirs):
        return f"weights {sources.weights!r} know {len(ours)} classes, data {sources.data!r} has {len(theirs)}"
    index = next(i for i, (a, b) in enumerate(zip(ours, theirs, strict=True)) if a != b)
    given = (ours[index], sources.weights, theirs[index], sources.data)
    return "class {} is {!r} in weights {!r} and {!r} in data {!r}".format(index, *given)
