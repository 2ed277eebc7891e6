"""How far each proxy can be trusted at one budget: rank correlations, the mAP it would cost, the time it takes.

All figures come with what a resample of the same candidates would have said.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from leaderboards.benchmarks.record import Cell
from leaderboards.reports.agreement import correlate
from leaderboards.reports.resampling import Interval, draw_resamples, interval, kendalls, regret, spearmans

Floats = NDArray[np.float64]

PEER = "map_adaptive_bn"
LEAST_SPEARMAN, LEAST_GAIN, MOST_TIME, MOST_REGRET = 0.85, 0.10, 0.25, 0.005
UNKNOWN = "-"  # one value for all candidates has no order


@dataclass(frozen=True, eq=False)
class Column:
    """What one proxy says of the candidates of one bin.

    Attributes:
        scores: (n,) higher is better; NaN where it could not be measured.
        seconds: the median for a candidate, on one thread.
    """

    proxy: str
    scores: Floats
    seconds: float


@dataclass(frozen=True, eq=False)
class RankCorrelation:
    """One proxy at one budget.

    Attributes:
        n: candidates it could be measured on.
        spearman: None where all its values are one.
        gain: how far its Spearman correlation is above the peer's, on the candidates of both.
        regret: in mAP, of the first and of the best five.
        seconds: a candidate.
        share: of the peer's seconds.
    """

    proxy: str
    n: int
    spearman: float | None
    spearman_interval: Interval | None
    kendall: float | None
    kendall_interval: Interval | None
    gain: float | None
    gain_interval: Interval | None
    regret: tuple[float, float]
    seconds: float
    share: float

    @property
    def holds(self) -> bool:
        """Whether the proxy is all that is asked of one."""
        return (
            self.spearman is not None
            and self.spearman >= LEAST_SPEARMAN
            and self.gain is not None
            and self.gain >= LEAST_GAIN
            and self.gain_interval is not None
            and self.gain_interval.low > 0
            and self.share <= MOST_TIME
            and self.regret[0] <= MOST_REGRET
        )

    def to_row(self) -> dict[str, Cell]:
        """Return the cells of its line in a table."""
        return {
            "proxy": self.proxy,
            "n": float(self.n),
            "spearman": _cell(self.spearman),
            **_ends("spearman", self.spearman_interval),
            "kendall": _cell(self.kendall),
            **_ends("kendall", self.kendall_interval),
            "gain": _cell(self.gain),
            **_ends("gain", self.gain_interval),
            "regret_1": self.regret[0],
            "regret_5": self.regret[1],
            "seconds": self.seconds,
            "time_share": self.share,
            "holds": self.holds,
        }


def correlation(columns: Sequence[Column], final: Floats, /) -> list[RankCorrelation]:
    """Return how far each of `columns` can be trusted, one of which is the peer.

    Args:
        final: (n,) the final mAP of the candidates.
    """
    peer = next(column for column in columns if column.proxy == PEER)
    return [_correlation(column, peer, final) for column in columns if np.isfinite(column.scores).any()]


def ceiling(repeats: Sequence[tuple[float, float]], /) -> float | None:
    """Return how well the final accuracies of two seeds of fine-tuning agree, the most that any proxy can hope for."""
    found = correlate([first for first, _ in repeats], [second for _, second in repeats])
    return None if found is None else found.spearman


def mean_spearman(bins: Sequence[Sequence[RankCorrelation]], proxy: str, /) -> float:
    """Return the mean over `bins` of the Spearman correlation of `proxy`; where it has no order it agrees with none."""
    found = [one.spearman for correlations in bins for one in correlations if one.proxy == proxy]
    return sum(spearman or 0.0 for spearman in found) / len(bins)


def by_spearman(bins: Sequence[Sequence[RankCorrelation]], /) -> list[str]:
    """Return the proxies by their mean Spearman correlation, the best first."""
    names = {one.proxy for correlations in bins for one in correlations}
    return sorted(names, key=lambda proxy: (-mean_spearman(bins, proxy), proxy))


def holds(bins: Sequence[Sequence[RankCorrelation]], proxy: str, /) -> bool:
    """Return whether `proxy` is all that is asked of one in each of `bins`."""
    return all(any(one.proxy == proxy and one.holds for one in correlations) for correlations in bins)


def _correlation(column: Column, peer: Column, final: Floats) -> RankCorrelation:
    is_known = np.isfinite(column.scores)
    scores, values = column.scores[is_known], final[is_known]
    resamples = draw_resamples(len(scores))
    found = correlate(scores.tolist(), values.tolist())
    both = is_known & np.isfinite(peer.scores)
    gain, gain_interval = _gain(column.scores[both], peer.scores[both], final[both])
    return RankCorrelation(
        proxy=column.proxy,
        n=len(scores),
        spearman=found.spearman if found else None,
        spearman_interval=interval(spearmans(scores, values, resamples)) if found else None,
        kendall=found.kendall if found else None,
        kendall_interval=interval(kendalls(scores, values, resamples)) if found else None,
        gain=gain,
        gain_interval=gain_interval,
        regret=(regret(scores, values), regret(scores, values, n_tried=5)),
        seconds=column.seconds,
        share=column.seconds / peer.seconds,
    )


def _gain(scores: Floats, peer: Floats, final: Floats) -> tuple[float | None, Interval | None]:
    """Return the difference of the Spearman correlations, and its interval over resamples that both share."""
    own, other = correlate(scores.tolist(), final.tolist()), correlate(peer.tolist(), final.tolist())
    if own is None or other is None:
        return None, None
    resamples = draw_resamples(len(final))
    differences = spearmans(scores, final, resamples) - spearmans(peer, final, resamples)
    return own.spearman - other.spearman, interval(differences)


def _cell(value: float | None) -> Cell:
    return UNKNOWN if value is None else value


def _ends(name: str, ends: Interval | None) -> Mapping[str, Cell]:
    low, high = (UNKNOWN, UNKNOWN) if ends is None else ends
    return {f"{name}_low": low, f"{name}_high": high}
