"""What a sample of candidates allows to say: correlations of resamples, all at once, and their intervals.

Candidates are drawn with replacement (Efron 1979, the bootstrap). Two proxies are compared on the same resamples:
what is common to them, an easy or a hard sample, then falls out of the difference.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

Floats = NDArray[np.float64]

N_RESAMPLES = 2000


class Interval(NamedTuple):
    """Where 95 % of the resamples lie."""

    low: float
    high: float


def draw_resamples(n: int, /, *, seed: int = 0) -> NDArray[np.int64]:
    """Return indices of `n` candidates drawn with replacement, 2,000 times: (2000, n)."""
    return np.random.default_rng(seed).integers(n, size=(N_RESAMPLES, n))


def spearmans(x: Floats, y: Floats, resamples: NDArray[np.int64], /) -> Floats:
    """Return Spearman's correlation of `x` and `y` (n,) in each resample (m,), NaN where one of them is constant."""
    first, second = (_standardised(rankdata(values[resamples], axis=1)) for values in (x, y))
    return np.asarray((first * second).sum(1))


def kendalls(x: Floats, y: Floats, resamples: NDArray[np.int64], /) -> Floats:
    """Return Kendall's tau-b of `x` and `y` (n,) in each resample (m,), NaN where one of them is constant.

    The pairs of a resample are those of the sample, each as often as both of its ends were drawn.
    """
    n = len(x)
    counts = np.stack([np.bincount(row, minlength=n) for row in resamples]).astype(float)  # (m, n)
    first, second = (np.sign(values[:, None] - values) for values in (x, y))  # (n, n)
    agree, of_first, of_second = (
        ((counts @ pairs) * counts).sum(1) for pairs in (first * second, np.abs(first), np.abs(second))
    )
    product = np.sqrt(of_first * of_second)
    return np.asarray(np.divide(agree, product, out=np.full(len(counts), np.nan), where=product > 0))


def interval(values: Floats, /) -> Interval | None:
    """Return the middle 95 % of the finite ones of `values`; None if there are none."""
    finite = values[np.isfinite(values)]
    if not len(finite):
        return None
    low, high = np.percentile(finite, [2.5, 97.5])
    return Interval(float(low), float(high))


def regret(score: Floats, truth: Floats, /, *, n_tried: int = 1) -> float:
    """Return how far the best truth of the `n_tried` highest by `score` is below the best of all.

    Equal scores count as in a random order: the mean of what each would give in the last place that is tried.
    """
    order = np.argsort(-score, kind="stable")
    last = score[order[min(n_tried, len(order)) - 1]]
    above, level = truth[score > last], truth[score == last]
    best_above = above.max() if len(above) else -np.inf
    return float(truth.max() - _mean_of_best(level, best_above, n_drawn=min(n_tried, len(truth)) - len(above)))


def _mean_of_best(level: Floats, at_least: float, *, n_drawn: int) -> float:
    """Return the mean of the largest of `at_least` and `n_drawn` of `level` without replacement."""
    ordered, left = np.sort(level)[::-1], 1.0
    total = 0.0
    for place, value in enumerate(ordered):
        others = len(ordered) - place
        chance = left * min(1.0, n_drawn / others)  # the largest that is drawn is this one
        total += chance * max(float(value), at_least)
        left -= chance
    return total


def _standardised(ranks: Floats) -> Floats:
    """Return each row of `ranks` with mean 0 and length 1, NaN where it is constant."""
    centred = ranks - ranks.mean(1, keepdims=True)
    length = np.sqrt((centred**2).sum(1, keepdims=True))
    return np.asarray(np.divide(centred, length, out=np.full_like(centred, np.nan), where=length > 0))
