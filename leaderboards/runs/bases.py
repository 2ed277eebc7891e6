"""The bases that a run searches across: which there are, and the networks behind them."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from ultralytics.nn.tasks import DetectionModel

from evaluators.data.dataset import Holdout
from evaluators.data.images import Images, load_images
from leaderboards.recipes.recipe import Recipe
from spaces.bases.base import SAME, BaseName
from spaces.bases.depth import DepthImportance, Repeat, drop_repeats, kernel_gamma_order, order_repeats
from spaces.detectors.backbones.swap import swap_backbone
from spaces.errors import BadInput


class Plan(NamedTuple):
    """A base before its network is made.

    Attributes:
        dropped: the repeats that it lacks.
    """

    name: BaseName
    dropped: tuple[Repeat, ...]


def plan_bases(recipe: Recipe, holdout: Holdout, parent: DetectionModel, /) -> list[Plan]:
    """Return all bases of `recipe`: backbones x repeats left out x image sizes, and first of all "same".

    Raises:
        BadInput: more repeats are to be left out than there are, or a backbone that does not exist or does not fit.
    """
    sizes = (None, *(size for size in dict.fromkeys(recipe.image_sizes) if size != recipe.imgsz))
    plans = [] if SAME in recipe.backbones else [Plan(BaseName(), ())]
    for backbone in sorted(recipe.backbones, key=lambda name: name != SAME):
        order = _order(recipe, holdout, parent, backbone) if recipe.depth else ()
        if len(order) < recipe.depth:
            raise BadInput(f"depth={recipe.depth}: only {len(order)} repeats can be left out of {backbone!r}")
        plans += [
            Plan(BaseName(backbone, n_dropped, imgsz), order[:n_dropped])
            for imgsz in sizes
            for n_dropped in range(recipe.depth + 1)
        ]
    return plans


def provisional(plans: Sequence[Plan], parent: DetectionModel, /) -> Iterator[DetectionModel]:
    """Yield the network of each of `plans` as far as its shapes go; other backbones are not trained yet."""
    whole = {SAME: parent}
    for name, dropped in plans:
        if name.backbone not in whole:
            whole[name.backbone] = swap_backbone(parent, name.backbone)
        yield drop_repeats(whole[name.backbone], dropped) if dropped else whole[name.backbone]


def calibration_images(recipe: Recipe, holdout: Holdout, /, *, imgsz: int) -> Images:
    """Return the images that calibrate: of train, outside the hold-out, the same ones for each `imgsz`."""
    order = np.random.default_rng([recipe.seed, 1]).permutation(len(holdout.rest))[: recipe.calibration_images]
    return load_images([holdout.rest[index] for index in order], imgsz=imgsz)


def _order(recipe: Recipe, holdout: Holdout, parent: DetectionModel, backbone: str) -> tuple[Repeat, ...]:
    """Return the repeats, the least missed first; under another backbone, not trained yet, always by their weights."""
    if backbone == SAME and recipe.depth_importance is DepthImportance.CHANGE:
        return order_repeats(parent, calibration_images(recipe, holdout, imgsz=recipe.imgsz).tensor())
    return kernel_gamma_order(parent if backbone == SAME else swap_backbone(parent, backbone))
