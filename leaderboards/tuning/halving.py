"""How a budget of epochs is shared out over the rows of a front: successive halving that stops what is dominated.

All rows train for a rung; then those stop that another one beats in hold-out mAP and in every limited cost, at most
half of them, and what they would have cost goes to the others. A rung is a fine-tuning of its own, from warm-up to
the lowest learning rate: so what is compared at its end is finished, and a row that stops there needs nothing more.

Source: Jamieson 2016, successive halving (arXiv:1502.07943); here what is dominated stops, not a fixed half, because
the members of a front are meant to differ in cost.
"""

import math
from typing import NamedTuple

import numpy as np

from search.pareto import Indices, Losses, is_front, rank


class Spent(NamedTuple):
    """What a row has had.

    Attributes:
        rung: the last one it was in, from 0.
        epochs: in all rungs together.
    """

    rung: int
    epochs: int
    seconds: float


def n_rungs(n_epochs: int, n_rows: int, /) -> int:
    """Return how many rungs there are: enough to halve the rows to one, if each can have an epoch in each of them.

    Raises:
        ValueError: there is no epoch for each row.
    """
    if not 1 <= n_rows <= n_epochs:
        raise ValueError(f"n_epochs must have one for each of the rows, got {n_epochs} for {n_rows}")
    return min(1 + math.ceil(math.log2(n_rows)), n_epochs // n_rows)


def epochs_each(left: int, *, n_rows: int, n_rungs: int) -> int:
    """Return the epochs of each row in the next rung, where `left` epochs are for `n_rungs` more of them.

    It is at least 1 in every rung if it is in the first: what is left never falls faster than the rungs.
    """
    return left // (n_rungs * n_rows)


def stopped(points: Losses, /) -> Indices:
    """Return which of the rows stop: those that are dominated, the worst first, at most half of all, rounded down.

    Args:
        points: (n, 1 + costs) with minus the hold-out mAP first; less is better.
    """
    ranks, is_kept = rank(points), is_front(points)
    dominated = [index for index in range(len(points)) if not is_kept[index]]
    worst = sorted(dominated, key=lambda index: (-ranks[index], -points[index, 0], index))
    return np.array(sorted(worst[: len(points) // 2]), np.int64)
