"""What a method decides on in one round of pruning: the network at hand, and how much of it may stay.

A method that trains as it cuts goes round by round: train, score the channels, cut, and on to the next. Its arithmetic
is a function from a `Round` to the results of what it proposes; training and cutting are not its business.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from evaluators.metric import Metric
from evaluators.result import Result
from spaces.candidate import Candidate
from spaces.space import Keep, Space

Floats = NDArray[np.float64]
LayerScores = tuple[Floats, ...]  # as in spaces.importance.by_layer, without torch


@dataclass(frozen=True, eq=False)
class Round:
    """One round of a method.

    Attributes:
        space: the sub-networks of the network at hand.
        scores: of the channels of each block by each of its layers, (n_layers, parts * size), NaN where one has none.
        uses: tells the largest cost of each row of keep counts (n, n_genes) as a fraction of its limit, (n,).
        targets: the uses that candidates may have, one for each that is wanted, falling.
        is_last: whether the first target is the limit itself and not a step on the way.
        measure: gives the results of candidates in their order, from the journal where it has them.
        metric: what candidates are compared by.
    """

    space: Space
    scores: LayerScores
    uses: Callable[[Keep], Floats]
    targets: tuple[float, ...]
    is_last: bool
    measure: Callable[[Sequence[Candidate]], list[Result]]
    metric: Metric

    def use(self, keep: Keep, /) -> float:
        """Return the use of one row of keep counts, (n_genes,)."""
        return float(self.uses(keep[None])[0])

    def is_within(self, target: float, keep: Keep, /) -> bool:
        """Return whether `keep` uses no more than `target`."""
        return self.use(keep) <= target

    def whole(self) -> Keep:
        """Return the keep counts of the network at hand."""
        return self.space.decode(self.space.parent)


class Decide(Protocol):
    """The arithmetic of one method."""

    def __call__(self, around: Round, /) -> list[Result]:
        """Return the measured results of the candidates that are chosen, the widest first."""
        ...


def targets_of(start: float, *, number: int, n_rounds: int) -> float:
    """Return the use that round `number` of `n_rounds`, from 1, may leave: equal factors from `start` down to 1.

    Args:
        start: the use of the network that the first round begins with; one below 1 is within the limits already.
    """
    target: float = max(start, 1.0) ** (1 - number / n_rounds)
    return target


def option_at_least(space: Space, index: int, count: float) -> int:
    """Return the smallest keep count of gene `index` that is not below `count`, at most the whole."""
    gene = space.genes[index]
    return next((option for option in gene.options if option >= count), gene.size)


def widest(keep_at: Callable[[float], Keep], thresholds: Sequence[float], *, fits: Callable[[Keep], bool]) -> Keep:
    """Return the keep counts at the lowest of the ascending `thresholds` at which they fit, else at the highest.

    Widths must not grow with the threshold.
    """
    low, high = 0, len(thresholds) - 1
    while low < high:
        middle = (low + high) // 2
        if fits(keep_at(thresholds[middle])):
            high = middle
        else:
            low = middle + 1
    return keep_at(thresholds[low])


def by_threshold(around: Round, keep_at: Callable[[float], Keep], /) -> list[Result]:
    """Return the results of the widest candidates within each target, of those that one global threshold leaves."""
    known = np.unique(np.concatenate([block[~np.isnan(block)] for block in around.scores]))
    thresholds = [-np.inf, *known.tolist()]
    keeps = [widest(keep_at, thresholds, fits=partial(around.is_within, target)) for target in around.targets]
    return around.measure(list(dict.fromkeys(around.space.encode(keep) for keep in keeps)))
