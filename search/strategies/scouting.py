"""Scouts: a few given candidates are measured before a strategy draws its first, and what they tell steers the draws.

Where a search spans several image sizes, one candidate of each shows what a size is worth within the limits; draws
then go where something is to be found.
"""

import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from evaluators.metric import Metric
from evaluators.result import Result, Status
from search.strategy import Strategy
from spaces.candidate import Candidate

LEAST = 1e-3  # chance: a base that alone reaches a smaller budget must stay possible
TOLERANCE = 0.05  # of the best reading: a base whose scout is so much worse is drawn from 1/e times as often


class Scouting:
    """Proposes the scouts first and then what `inner` proposes, which is told of them with its own first results.

    Args:
        scouts: one of each base that is worth knowing, at least one.
        metric: by which bases are compared.
        favour: gets the chance of each base that a scout was measured of, at most 1.0.
    """

    def __init__(
        self,
        inner: Strategy,
        scouts: Sequence[Candidate],
        /,
        *,
        metric: Metric,
        favour: Callable[[Mapping[str, float]], None],
    ) -> None:
        self._inner = inner
        self._scouts = scouts
        self._metric = metric
        self._favour = favour
        self._n_asked = 0
        self._found: tuple[Result, ...] | None = None  # what the scouts brought; None while they are out

    @property
    def generation(self) -> int:
        """As many as there are scouts, then as many as `inner` has."""
        return len(self._scouts) if self._found is None else self._inner.generation

    def ask(self, rng: np.random.Generator, /) -> Candidate:
        """Return the next scout, or what `inner` proposes once all have been measured."""
        if self._found is not None:
            return self._inner.ask(rng)
        self._n_asked += 1
        return self._scouts[self._n_asked - 1]

    def tell(self, results: Sequence[Result], /) -> None:
        """Let the results of the scouts steer the draws; all later ones are for `inner`."""
        if self._found is None:
            self._found = tuple(results)
            self._favour(chances(results, self._metric))
        else:
            self._inner.tell([*self._found, *results])
            self._found = ()


def chances(results: Sequence[Result], metric: Metric, /) -> dict[str, float]:
    """Return for each base the chance, at most 1.0, that its scout deserves beside the best one; failed ones have none.

    The best is one that is cut where there is any: a whole network is no find, so it must not keep draws from others.
    """
    done = [result for result in results if result.status is Status.DONE]
    if not done:
        return {}
    losses = {result.candidate.base: metric.loss(result.readings[metric.name]) for result in done}
    least = min(losses[result.candidate.base] for result in [each for each in done if each.candidate.picks] or done)
    scale = TOLERANCE * max(abs(least), 1e-9)
    return {base: max(LEAST, math.exp(min((least - loss) / scale, 0.0))) for base, loss in losses.items()}
