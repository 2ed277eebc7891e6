"""Which results dominate which, how much the front covers, and which few of them stand for all.

All arrays hold losses: less is better in every column. moocore does the geometry. It lets a NaN row dominate
everything, so numbers that are not finite are refused here.
"""

from collections.abc import Sequence

import moocore
import numpy as np
from numpy.typing import NDArray

from evaluators.metric import Metric
from evaluators.result import Result

Losses = NDArray[np.float64]  # (n_points, n_metrics)
Indices = NDArray[np.int64]

REFERENCE = 1.1  # just outside the worst corner of the unit cube that `select_spread` works in


def losses(results: Sequence[Result], metrics: Sequence[Metric], /) -> Losses:
    """Return the readings of `results` as an (n_results, n_metrics) array in which less is better.

    Raises:
        ValueError: a result lacks one of the readings.
    """
    for result in results:
        missing = [metric.name for metric in metrics if metric.name not in result.readings]
        if missing:
            raise ValueError(f"every result must have all objectives, number {result.number} lacks {missing}")
    rows = [[metric.loss(result.readings[metric.name]) for metric in metrics] for result in results]
    return np.array(rows, np.float64).reshape(len(results), len(metrics))


def is_front(points: Losses, /) -> NDArray[np.bool_]:
    """Return which points are dominated by none, (n_points,); equal points are on the front together.

    Raises:
        ValueError: a value is not finite.
    """
    _check_finite(points)
    return np.asarray(moocore.is_nondominated(points, keep_weakly=True), np.bool_).reshape(len(points))


def rank(points: Losses, /) -> Indices:
    """Return the front that each point is on, (n_points,): 0 is the best, equal points share theirs.

    Raises:
        ValueError: a value is not finite.
    Source: Deb 2002, NSGA-II, fast non-dominated sorting.
    """
    _check_finite(points)
    if len(points) == 0:
        return np.zeros(0, np.int64)
    return np.asarray(moocore.pareto_rank(points), np.int64)


def crowding(points: Losses, /) -> NDArray[np.float64]:
    """Return the crowding distance of each point of one front, (n_points,): infinite at the ends of an objective.

    Source: Deb 2002, NSGA-II, crowding-distance assignment.
    """
    distance = np.zeros(len(points))
    for column in points.T:
        order = np.argsort(column, kind="stable")
        value = column[order]
        span = value[-1] - value[0] if len(value) else 0.0
        if span > 0:
            distance[order[1:-1]] += (value[2:] - value[:-2]) / span
            distance[order[[0, -1]]] = np.inf
    return distance


def hypervolume(points: Losses, /, *, reference: Sequence[float]) -> float:
    """Return the volume that `points` dominate inside `reference`, the worst corner, one value for each metric.

    Raises:
        ValueError: a value is not finite.
    """
    _check_finite(points)
    return float(moocore.hypervolume(points, ref=np.asarray(reference, np.float64))) if len(points) else 0.0


def select_spread(points: Losses, n: int, /) -> Indices:
    """Return the indices of `n` points that stand for the front, the most telling first; all when there are fewer.

    Greedy: each choice adds the most hypervolume to those before it, every objective scaled to [0, 1] on its front.
    A front with fewer than `n` points is taken whole and the next one goes on.

    Raises:
        ValueError: a value is not finite.
    """
    ranks = rank(points)
    chosen: list[int] = []
    for front in range(ranks.max(initial=-1) + 1):
        members = np.flatnonzero(ranks == front)
        chosen += members[_greedy(points[members], n - len(chosen))].tolist()
    return np.array(chosen[: max(n, 0)], np.int64)


def _greedy(points: Losses, n: int) -> list[int]:
    """Return the places of up to `n` points in the order in which they add the most hypervolume; ties: the first."""
    low, high = points.min(0), points.max(0)
    scaled = (points - low) / np.where(high > low, high - low, 1.0)
    reference = [REFERENCE] * points.shape[1]
    chosen: list[int] = []
    rest = list(range(len(points)))
    while rest and len(chosen) < n:
        volumes = [hypervolume(scaled[[*chosen, index]], reference=reference) for index in rest]
        chosen.append(rest.pop(int(np.argmax(volumes))))
    return chosen


def _check_finite(points: Losses) -> None:
    bad = np.argwhere(~np.isfinite(points))
    if len(bad):
        row, column = bad[0]
        raise ValueError(f"losses must be finite, got {points[row, column]} in row {row}, column {column}")
