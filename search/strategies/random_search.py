"""Random draws on budget: EagleEye's strategy, and the first generation of every other one."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from evaluators.result import Result
from search.strategy import SearchSetup
from spaces.candidate import Candidate
from spaces.errors import BadInput, OutOfReach
from spaces.searchable import SearchSpace

TRIES = 100  # draws after which a repeated candidate is accepted: the space may hold no other
ON_LIMITS = 0.5  # of the proposals of a search for a front: whoever has a budget wants the best that uses it up


class RandomSearch:
    """Draws candidates on budget, or half of them over a range of smaller budgets so that a front appears.

    Args:
        limits: upper limits by metric name.
        spread: the lowest budget as a fraction of the limits, in (0, 1]; 1 draws exactly on budget.

    Raises:
        BadInput: `spread` outside (0, 1].
    Source: Li 2020, EagleEye (arXiv:2007.02491), the strategy generation.
    """

    generation = 1_000_000  # no draw depends on a result

    def __init__(self, space: SearchSpace, limits: Mapping[str, float], *, spread: float = 1.0) -> None:
        if not 0 < spread <= 1:
            raise BadInput(f"spread must be in (0, 1], got {spread}")
        self._space = space
        self._limits = limits
        self._spread = spread
        self._asked: set[Candidate] = set()

    def ask(self, rng: np.random.Generator, /) -> Candidate:
        """Return a candidate that was not asked before, as long as `TRIES` draws find one.

        Raises:
            OutOfReach: no candidate of the space meets the limits.
        """
        return draw_new(lambda: self._draw(rng), asked=self._asked)

    def tell(self, results: Sequence[Result], /) -> None:
        """Learn nothing."""

    def _draw(self, rng: np.random.Generator) -> Candidate:
        return self._space.sample(rng, limits=spread_limits(self._space, rng, limits=self._limits, spread=self._spread))


def from_setup(setup: SearchSetup, /) -> RandomSearch:
    """Return the strategy of `setup`."""
    return RandomSearch(setup.space, setup.limits)


def spread_limits(
    space: SearchSpace, rng: np.random.Generator, /, *, limits: Mapping[str, float], spread: float
) -> Mapping[str, float]:
    """Return `limits`, or half of the time `limits` times a factor that is log-uniform in (spread, 1].

    Factors below the space's reach are drawn again; after `TRIES` of them it is `limits` too.
    """
    if rng.random() < ON_LIMITS:
        return limits
    for _ in range(TRIES):
        factor = spread ** rng.random()
        scaled = {name: limit * factor for name, limit in limits.items()}
        try:
            space.check(scaled)
        except OutOfReach:
            continue
        return scaled
    return limits


def draw_new(draw: Callable[[], Candidate], /, *, asked: set[Candidate]) -> Candidate:
    """Return a draw that is not in `asked`, after `TRIES` of them any, and add it there."""
    for _ in range(TRIES):
        candidate = draw()
        if candidate not in asked:
            break
    asked.add(candidate)
    return candidate
