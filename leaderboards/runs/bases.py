"""The bases that a run searches across: which there are, and the networks behind them."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
from ultralytics.nn.tasks import DetectionModel

from evaluators.budget import ROUNDING
from evaluators.data.holdout import Holdout
from evaluators.data.images import Images, load_images, noise
from leaderboards.recipes.parts import Bases
from spaces.bases.depth import Repeat, drop_repeats, kernel_gamma_order, order_repeats
from spaces.bases.names import SAME, BaseName, DepthImportance
from spaces.detectors.backbones.swap import swap_backbone
from spaces.errors import BadInput

LEAST_STRIDE = 32
MOST_SIZES = 3  # that a search adds by itself


class BasePlan(NamedTuple):
    """A base before its network is made.

    Attributes:
        dropped: the repeats that it lacks.
        is_searched: whether candidates are cut from it; "same" is there in any case, as what teaches the others.
    """

    name: BaseName
    dropped: tuple[Repeat, ...]
    is_searched: bool = True


def plan_bases(bases: Bases, parent: DetectionModel, /, *, images: Callable[[], Images]) -> list[BasePlan]:
    """Return all bases: backbones x repeats left out x image sizes, and first of all "same".

    Args:
        images: gives the calibration images, on which the user's own repeats are ordered if that is asked for.

    Raises:
        BadInput: more repeats are to be left out than there are, or a backbone that does not exist or does not fit.
    """
    sizes = (None, *(size for size in dict.fromkeys(bases.image_sizes) if size != bases.imgsz))
    plans = [] if SAME in bases.backbones else [BasePlan(BaseName(), (), is_searched=False)]
    for backbone in sorted(bases.backbones, key=lambda name: name != SAME):
        order = _order(parent, backbone, bases.depth_importance, images=images) if bases.depth else ()
        if len(order) < bases.depth:
            raise BadInput(f"depth={bases.depth}: only {len(order)} repeats can be left out of {backbone!r}")
        plans += [
            BasePlan(BaseName(backbone, n_dropped, imgsz), order[:n_dropped])
            for imgsz in sizes
            for n_dropped in range(bases.depth + 1)
        ]
    return plans


def check_sizes(network: DetectionModel, sizes: Iterable[int], /) -> None:
    """Make sure that `network` can be fed square images of each of `sizes`.

    Raises:
        BadInput: one is no multiple of its stride.
    """
    stride = _stride(network)
    for size in sizes:
        if size % stride:
            nearest = [str(near) for near in (size - size % stride, size - size % stride + stride) if near]
            raise BadInput(
                f"imgsz must be a multiple of {stride}, the stride of the network ({size} is not; "
                f"{' or '.join(nearest)} is)"
            )


def sizes_below(network: DetectionModel, imgsz: int, /) -> range:
    """Return the image sizes below `imgsz` that `network` can be fed, multiples of its stride, the largest first."""
    stride = _stride(network)
    return range(imgsz - stride, 0, -stride)


def smaller_sizes(network: DetectionModel, imgsz: int, /, *, share: float) -> list[int]:
    """Return image sizes below `imgsz`, down to the largest with which the whole `network` does `share` of its work.

    There are at most three, evenly apart, the largest first; none where nothing of the work need go.
    """
    below = sizes_below(network, imgsz) if share < 1 else range(0)
    n_over = sum((size / imgsz) ** 2 > share * (1 + ROUNDING) for size in below)
    sizes = below[: n_over + 1]
    n = min(len(sizes), MOST_SIZES)
    return [sizes[(place + 1) * len(sizes) // n - 1] for place in range(n)]


def provisional(plans: Sequence[BasePlan], parent: DetectionModel, /) -> Iterator[DetectionModel]:
    """Yield the network of each of `plans` as far as its shapes go; other backbones are not trained yet."""
    whole = {SAME: parent}
    for name, dropped, _ in plans:
        if name.backbone not in whole:
            whole[name.backbone] = swap_backbone(parent, name.backbone)
        yield drop_repeats(whole[name.backbone], dropped) if dropped else whole[name.backbone]


def calibration_images(holdout: Holdout, n: int, /, *, seed: int, imgsz: int) -> Images:
    """Return `n` images that calibrate: of train, outside the hold-out, the same ones for each `imgsz`.

    Where there is no data, they are noise.
    """
    if not holdout.rest:
        return noise(n, imgsz=imgsz, seed=seed)
    order = np.random.default_rng([seed, 1]).permutation(len(holdout.rest))[:n]
    return load_images([holdout.rest[index] for index in order], imgsz=imgsz)


def _stride(network: DetectionModel) -> int:
    return max(LEAST_STRIDE, int(network.stride.max()))


def _order(
    parent: DetectionModel, backbone: str, importance: DepthImportance, /, *, images: Callable[[], Images]
) -> tuple[Repeat, ...]:
    """Return the repeats, the least missed first; under another backbone, not trained yet, always by their weights."""
    if backbone == SAME and importance is DepthImportance.CHANGE:
        return order_repeats(parent, images().tensor())
    return kernel_gamma_order(parent if backbone == SAME else swap_backbone(parent, backbone))
