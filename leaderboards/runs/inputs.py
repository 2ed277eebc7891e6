"""What a recipe names, loaded and checked."""

from pathlib import Path

import torch

from evaluators.data.dataset import load_dataset, split_holdout
from evaluators.data.digits import render_digits
from evaluators.devices.device_file import DeviceFile, read_device_file
from leaderboards.recipes.demands import check_demands
from leaderboards.recipes.recipe import EMBEDDED, Recipe
from leaderboards.runs.problem import Inputs, fingerprint
from spaces.bits.simulation import MIN_IMAGES
from spaces.detectors.backbones.pretrained import check_pretrained
from spaces.detectors.detector import load_detector
from spaces.detectors.embedded import EMBEDDED_PARENT, ROOT
from spaces.errors import BadInput


def load_inputs(recipe: Recipe, /) -> Inputs:
    """Return the data and the detector that `recipe` names.

    Raises:
        BadInput: keys, the device, the data, the weights, those of backbones or the device file cannot be used, or do
            not belong together.
    """
    check_demands(recipe)
    _check_device(recipe.torch_device)
    if recipe.backbone_weights is not None:
        check_pretrained(recipe.backbone_weights, recipe.backbones)
    yaml = render_digits(ROOT / "datasets") if recipe.data == EMBEDDED else Path(recipe.data)
    dataset = load_dataset(yaml, needs_train_labels=recipe.needs_train_labels)
    holdout = split_holdout(dataset.train, n_holdout=recipe.search_images, seed=recipe.seed)
    n_calibration = min(recipe.calibration_images, len(holdout.rest))
    if recipe.bits and n_calibration < MIN_IMAGES:
        raise BadInput(f"bits: ranges need at least {MIN_IMAGES} calibration images, there are {n_calibration}")
    if recipe.needs_train_labels and not any(len(sample.labels) for sample in holdout.search):
        raise BadInput(f"data: none of the {len(holdout.search)} train images that rank candidates has a box")
    path = EMBEDDED_PARENT if recipe.weights == EMBEDDED else Path(recipe.weights)
    parent, architecture = load_detector(path)
    if architecture.bits:
        raise BadInput(f"weights: {recipe.weights!r} hold a network of few bits, and what is searched must be in float")
    if architecture.names != dataset.names:
        raise BadInput(_names_differ(architecture.names, dataset.names, recipe))
    digest = fingerprint(path)
    return Inputs(dataset, holdout, parent, architecture, digest, _device(recipe, digest))


def _device(recipe: Recipe, parent: str) -> DeviceFile | None:
    """Return the device file that `recipe` names, made for these weights and fit for what is asked of it."""
    if recipe.device_file is None:
        return None
    if len(recipe.backbones) > 1 or recipe.depth or recipe.image_sizes:
        raise BadInput(
            "device_file is of the user's own network at one size: leave out backbones, depth and image_sizes"
        )
    device = read_device_file(Path(recipe.device_file))
    device.check_use(parent=parent, imgsz=recipe.imgsz, threads=1)
    warning = device.foreign()
    if warning and recipe.latency_ms is not None and not recipe.allow_foreign_device:
        raise BadInput(f"{warning}; make one here with bench latency, or set allow_foreign_device=true")
    return device


def _check_device(device: str) -> None:
    if device == "cpu":
        return
    index = int(device.partition(":")[2] or 0)
    if index >= torch.cuda.device_count():
        there = ", ".join(["cpu", *(str(number) for number in range(torch.cuda.device_count()))])
        raise BadInput(f"device {index} is not there; this machine has {there}")


def _names_differ(ours: tuple[str, ...], theirs: tuple[str, ...], recipe: Recipe) -> str:
    if len(ours) != len(theirs):
        return f"weights {recipe.weights!r} know {len(ours)} classes, data {recipe.data!r} has {len(theirs)}"
    index = next(i for i, (a, b) in enumerate(zip(ours, theirs, strict=True)) if a != b)
    return (
        f"class {index} is {ours[index]!r} in weights {recipe.weights!r} and {theirs[index]!r} in data {recipe.data!r}"
    )
