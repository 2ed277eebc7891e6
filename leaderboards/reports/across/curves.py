"""How much a search had found after so many evaluations and so many seconds: hypervolume, and bands over seeds.

Runs are compared inside one box, from the best value of each objective to the worst on any of their final fronts: a
point outside by more than a tenth counts for nothing, and 1 would be a single candidate that is best in everything.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from search.pareto import REFERENCE, Losses, hypervolume, is_front

Floats = NDArray[np.float64]


class Box(NamedTuple):
    """Where hypervolume is measured: the best and the worst of each objective, (n_metrics,)."""

    low: Floats
    high: Floats


class Curve(NamedTuple):
    """A quantity that jumps to `y[i]` at `x[i]` and stays there; `x` never falls."""

    x: Floats
    y: Floats

    def at(self, x: float) -> float:
        """Return the value at `x`, 0 before the first jump."""
        place = int(np.searchsorted(self.x, x, side="right")) - 1
        return float(self.y[place]) if place >= 0 else 0.0

    def first(self, y: float) -> float | None:
        """Return where the value first is at least `y`, None if it never is."""
        reached = np.flatnonzero(self.y >= y)
        return float(self.x[reached[0]]) if len(reached) else None


class Band(NamedTuple):
    """Mean, least and largest value of several curves where any of them jumps, up to where the first one ends."""

    x: Floats
    mean: Floats
    low: Floats
    high: Floats

    @property
    def curve(self) -> Curve:
        """The mean."""
        return Curve(self.x, self.mean)


def box_of(runs: Sequence[Losses], /) -> Box:
    """Return the box of the final fronts of `runs`, (n_points, n_metrics) each; at least one of them has a point."""
    fronts = np.concatenate([points[is_front(points)] for points in runs if len(points)])
    return Box(fronts.min(0), fronts.max(0))


def hypervolumes(points: Losses, box: Box, /) -> Floats:
    """Return which share of `box` the points dominate up to each of them, (n_points,); it never falls."""
    scaled = (points - box.low) / np.where(box.high > box.low, box.high - box.low, 1.0)
    reference = [REFERENCE] * points.shape[1]
    shares = np.zeros(len(points))
    front = scaled[:0]
    for place, point in enumerate(scaled):
        if (point < REFERENCE).all() and not (front <= point).all(1).any():
            front = np.vstack([front[~(point <= front).all(1)], point])
        shares[place] = hypervolume(front, reference=reference) / REFERENCE ** points.shape[1]
    return shares


def band_of(curves: Sequence[Curve], /) -> Band:
    """Return mean and span of `curves`, at least one, each with a point."""
    x = np.unique(np.concatenate([curve.x for curve in curves]))
    x = x[x <= min(curve.x[-1] for curve in curves)]
    values = np.array([[curve.at(place) for place in x] for curve in curves])
    return Band(x, values.mean(0), values.min(0), values.max(0))
