"""What a recipe names, loaded and checked."""

import re
from dataclasses import replace
from pathlib import Path

import torch

from evaluators.data.dataset import Dataset
from evaluators.devices.device_file import DeviceFile, read_device_file
from leaderboards.recipes.keys import EMBEDDED, NO_DATA
from leaderboards.recipes.parts import Bases, Parts, Sources
from leaderboards.runs.bases import check_sizes
from leaderboards.runs.data import load_data
from leaderboards.runs.problem import Inputs, fingerprint
from leaderboards.runs.rivals import load_rivals
from spaces.bits.simulation import MIN_IMAGES
from spaces.detectors.backbones.pretrained import check_pretrained
from spaces.detectors.detector import load_detector
from spaces.detectors.embedded import EMBEDDED_PARENT
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
    path = EMBEDDED_PARENT if sources.weights == EMBEDDED else Path(sources.weights)
    parent, architecture = load_detector(path)
    if architecture.bits:
        raise BadInput(
            f"weights: {sources.weights!r} hold a network of few bits, and what is searched must be in float"
        )
    check_sizes(parent, (parts.bases.imgsz, *parts.bases.image_sizes))
    dataset, holdout = load_data(sources, parent, names=architecture.names, imgsz=parts.bases.imgsz)
    dataset = _warned(dataset, architecture.names, sources)
    n_calibration = min(parts.making.calibration_images, len(holdout.rest))
    if parts.cutting.weight_bits and sources.data != NO_DATA and n_calibration < MIN_IMAGES:
        raise BadInput(f"bits: ranges need at least {MIN_IMAGES} calibration images, there are {n_calibration}")
    digest = fingerprint(path)
    device = _device(sources, parts.bases, parent=digest, is_limited="latency_ms" in parts.limits)
    rivals = load_rivals(sources.rivals, dataset.names, imgsz=parts.bases.imgsz)
    return Inputs(dataset, holdout, parent, architecture, sources.weights, digest, device, rivals)


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


def _warned(dataset: Dataset, theirs: tuple[str, ...], sources: Sources, /) -> Dataset:
    """Return `dataset` with a warning where its class names are `theirs`, of the weights, but for capitals and space.

    Raises:
        BadInput: the names differ.
    """
    if len(dataset.names) != len(theirs):
        counts = f"weights {sources.weights!r} know {len(theirs)} classes, data {sources.data!r} has"
        raise BadInput(f"{counts} {len(dataset.names)}; names=a,b,... says what the data's classes are called")
    odd = [index for index, pair in enumerate(zip(dataset.names, theirs, strict=True)) if pair[0] != pair[1]]
    told = [f"class {i} is {theirs[i]!r} in weights {sources.weights!r} and {dataset.names[i]!r} in data" for i in odd]
    for index, one in zip(odd, told, strict=True):
        if _plain(dataset.names[index]) != _plain(theirs[index]):
            raise BadInput(f"{one} {sources.data!r}; if it is one class, names=a,b,... gives the data's names anew")
    warnings = [f"{told[0]}, which is taken for the same"] if told else []
    return replace(dataset, warnings=(*dataset.warnings, *warnings))


def _plain(name: str) -> str:
    return re.sub(r"[\s_-]+", " ", name).strip().casefold()
