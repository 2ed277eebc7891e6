"""How far the proxy of the search and the final mAP agree: rank correlations, and what their number allows to say."""

from collections.abc import Sequence
from typing import NamedTuple

from scipy.stats import kendalltau, spearmanr

from leaderboards.leaderboard import Leaderboard

MIN_N = 4  # below it every order is likely by chance


class Agreement(NamedTuple):
    """Rank correlations in [-1, 1], 1 when the proxy puts the candidates in their final order.

    Attributes:
        n: how many candidates were compared.
        kendall_p: the probability of a Kendall correlation at least as far from 0 between unrelated orders.
    """

    n: int
    spearman: float
    kendall: float
    kendall_p: float


def agreement(board: Leaderboard) -> Agreement | None:
    """Return how the proxy of the measured candidates, without the parent, agrees with their mAP.

    None if fewer than 4 have both, or if all have the same value of one of them.
    """
    known = [(entry.proxy, entry.quality.map50_95) for entry in board.rows if entry.quality and entry.proxy is not None]
    return correlate([-board.proxy.loss(proxy) for proxy, _ in known], [score for _, score in known])


def correlate(x: Sequence[float], y: Sequence[float], /) -> Agreement | None:
    """Return the rank correlations of `x` and `y`, (n,) each; None if n < 4 or one of them is constant."""
    if len(x) < MIN_N or len(set(x)) == 1 or len(set(y)) == 1:
        return None
    kendall = kendalltau(x, y)
    return Agreement(len(x), float(spearmanr(x, y).statistic), float(kendall.statistic), float(kendall.pvalue))
