"""Uniform width: the same keep fraction everywhere, the first thing that anyone tries."""

from collections.abc import Mapping, Sequence

import numpy as np

from evaluators.result import Result
from search.strategies.random_search import draw_new
from search.strategy import SearchSetup
from spaces.candidate import Candidate
from spaces.errors import BadInput, OutOfReach
from spaces.searchable import SearchSpace


class UniformSearch:
    """Draws uniform widths, the first on the limits and the others spread evenly over the budgets below them.

    Widths are multiples of the space's step, so a few random blocks are a step wider than the others: that is how
    two candidates of one budget differ.

    Args:
        limits: upper limits by metric name.
        spread: the lowest budget as a fraction of the limits, in (0, 1].

    Raises:
        BadInput: `spread` outside (0, 1].
    """

    generation = 1_000_000  # no draw depends on a result

    def __init__(self, space: SearchSpace, limits: Mapping[str, float], *, spread: float = 0.5) -> None:
        if not 0 < spread <= 1:
            raise BadInput(f"spread must be in (0, 1], got {spread}")
        self._space = space
        self._limits = limits
        self._spread = spread
        self._n_asked = 0
        self._asked: set[Candidate] = set()

    def ask(self, rng: np.random.Generator, /) -> Candidate:
        """Return uniform widths on the next budget, or on the limits where that one is below the space's reach.

        Raises:
            OutOfReach: no candidate of the space meets the limits.
        """
        factor = 1 - (1 - self._spread) * evenly(self._n_asked)
        self._n_asked += 1
        return draw_new(lambda: self._draw(rng, factor), asked=self._asked)

    def tell(self, results: Sequence[Result], /) -> None:
        """Learn nothing."""

    def _draw(self, rng: np.random.Generator, factor: float) -> Candidate:
        try:
            scaled = {name: limit * factor for name, limit in self._limits.items()}
            return self._space.sample(rng, limits=scaled, diversity=0.0)
        except OutOfReach:
            return self._space.sample(rng, limits=self._limits, diversity=0.0)


def from_setup(setup: SearchSetup, /) -> UniformSearch:
    """Return the strategy of `setup`."""
    return UniformSearch(setup.space, setup.limits, spread=setup.spread)


def evenly(index: int, /) -> float:
    """Return number `index` of a sequence in [0, 1) that any first part of covers evenly: 0, 1/2, 1/4, 3/4, 1/8, ...

    Source: van der Corput 1935, the radical inverse in base 2.
    """
    value, step = 0.0, 0.5
    while index:
        value += step * (index & 1)
        index, step = index >> 1, step / 2
    return value
