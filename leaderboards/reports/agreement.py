"""How far the scores of the search and the final mAP agree: rank correlations, and what their number allows to say."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy.stats import kendalltau, spearmanr

from evaluators.metric import COSTS
from evaluators.proxies.by_name import METRICS
from evaluators.result import Result, Status
from leaderboards.leaderboard import Leaderboard
from leaderboards.reports.resampling import Interval, draw_resamples, interval, regret, spearmans

MIN_N = 4  # below it every order is likely by chance
MIN_INTERVAL_N = 8  # of fewer in perfect order all resamples are in perfect order too, and the interval is a point


class Agreement(NamedTuple):
    """Rank correlations in [-1, 1], 1 when the proxy puts the candidates in their final order.

    Attributes:
        n: how many candidates were compared.
        kendall_p: the probability of a Kendall correlation at least as far from 0 between unrelated orders.
        interval: of Spearman's, from resampled candidates; None for fewer than 8.
        regret: the best final value minus that of the candidate which the proxy puts first.
    """

    n: int
    spearman: float
    kendall: float
    kendall_p: float
    interval: Interval | None
    regret: float


def agreement(board: Leaderboard) -> Agreement | None:
    """Return how the proxy of the measured candidates, without the parent, agrees with their mAP.

    None if fewer than 4 have both, or if all have the same value of one of them.
    """
    known = [(entry.proxy, entry.quality.map50_95) for entry in board.rows if entry.quality and entry.proxy is not None]
    return correlate([-board.proxy.loss(proxy) for proxy, _ in known], [score for _, score in known])


def agreement_by_reading(board: Leaderboard, results: Sequence[Result], /) -> dict[str, Agreement]:
    """Return how each reading that the search took of all measured candidates agrees with their mAP, the best first.

    The keys are the titles of the metrics. Of costs more is taken for better, as it is for the quality of a network.
    """
    readings = {result.candidate.id: result.readings for result in results if result.status is Status.DONE}
    rows = [(readings[entry.id], entry.quality) for entry in board.rows if entry.quality and entry.id in readings]
    found = {}
    for name, metric in METRICS.items():
        if all(name in values for values, _ in rows):
            scores = [values[name] if metric in COSTS else -metric.loss(values[name]) for values, _ in rows]
            one = correlate(scores, [quality.map50_95 for _, quality in rows])
            if one is not None:
                found[metric.title] = one
    return dict(sorted(found.items(), key=lambda item: -item[1].spearman))


def correlate(x: Sequence[float], y: Sequence[float], /) -> Agreement | None:
    """Return how the order of `x` agrees with that of `y`, (n,) each; None if n < 4 or one of them is constant."""
    n = len(x)
    if n < MIN_N or len(set(x)) == 1 or len(set(y)) == 1:
        return None
    score, truth, kendall = np.array(x, float), np.array(y, float), kendalltau(x, y)
    spread = interval(spearmans(score, truth, draw_resamples(n))) if n >= MIN_INTERVAL_N else None
    spearman = float(spearmanr(x, y).statistic)
    return Agreement(n, spearman, float(kendall.statistic), float(kendall.pvalue), spread, regret(score, truth))
