"""Who is better than whom: rows of several runs on the same images, with ties shown as ties.

The images are resampled, the same for all rows. A row is behind another one only if the 95 % interval of their
difference lies on one side of 0; its rank is one more than the number of rows that it is behind, so rows that cannot
be told apart from the same ones share a rank. Being tied is not passed on: the first may beat the third where the
second is tied with both.
"""

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from evaluators.accuracy.average_precision import Tally
from evaluators.accuracy.resampled_map import draw_images, resampled_map
from leaderboards.reports.resampling import Interval

Floats = NDArray[np.float64]


class Contender(NamedTuple):
    """A measured row.

    Attributes:
        tally: what it found, image by image; None where a run of an earlier version kept none.
    """

    map50_95: float
    tally: Tally | None


class Place(NamedTuple):
    """Where a row stands.

    Attributes:
        rank: from 1.
        is_shared: whether another row has the same rank.
        interval: of its own mAP over the images; None without a tally.
    """

    rank: int
    is_shared: bool
    interval: Interval | None

    @property
    def label(self) -> str:
        """The rank as it is printed, "2=" if it is shared."""
        return f"{self.rank}=" if self.is_shared else str(self.rank)


def stand(contenders: Sequence[Contender], /) -> list[Place]:
    """Return the place of each contender; those without a tally are compared by their mAP alone.

    Raises:
        ValueError: two tallies are of different splits.
    """
    drawn = iter(_samples([each.tally for each in contenders if each.tally is not None]))
    values = [None if each.tally is None else next(drawn) for each in contenders]
    everyone = range(len(contenders))
    ranks = [1 + sum(_is_behind(one, two, contenders, values) for two in everyone) for one in everyone]
    n_of = Counter(ranks)
    return [
        Place(rank, n_of[rank] > 1, None if own is None else _middle(own))
        for rank, own in zip(ranks, values, strict=True)
    ]


def _samples(tallies: Sequence[Tally]) -> list[Floats]:
    """Return the mAP of each tally in the resamples that have a box, which are the same for all."""
    n_images = {len(tally.n_truth) for tally in tallies}
    if len(n_images) > 1:
        raise ValueError(f"tallies must be of one split, got {sorted(n_images)} images")
    values = [resampled_map(tally, draw_images(len(tally.n_truth))) for tally in tallies]
    return [row[np.isfinite(row)] for row in values]


def _is_behind(one: int, two: int, contenders: Sequence[Contender], values: Sequence[Floats | None]) -> bool:
    mine, other = values[one], values[two]
    if mine is None or other is None:
        return contenders[one].map50_95 < contenders[two].map50_95
    return _middle(other - mine).low > 0


def _middle(values: Floats) -> Interval:
    low, high = np.percentile(values, [2.5, 97.5])
    return Interval(float(low), float(high))
