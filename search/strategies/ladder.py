"""A ladder of proxies: cheap ones look at many candidates, dear ones at those that remain.

Each generation of a strategy is chosen from many times as many of its proposals. A fidelity keeps the best by its own
proxy and the costs together, front by front: by the proxy alone the largest candidates would win, and the generation
would crowd at the limits. What is measured at last, and the strategy hears of, is the generation alone.
"""

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import prod

import numpy as np

from evaluators.metric import Metric
from evaluators.result import Job, Result, Status
from search.executor import Executor
from search.journal import Journal
from search.pareto import crowding, losses, rank
from search.strategy import Strategy
from spaces.candidate import Candidate

FIDELITY = "fidelity"  # the kind of the journal's records
GENERATION = 24  # of a strategy that has no generations of its own

Score = Callable[[Sequence[Candidate]], list[Result]]


@dataclass(frozen=True)
class Fidelity:
    """One step of a ladder.

    Attributes:
        proxy: what it ranks by.
        factor: how many times as many candidates it gets as it keeps.
        score: gives the results of candidates in their order, with `proxy` and the costs; failures are FAILED.
    """

    proxy: Metric
    factor: int
    score: Score


class Ladder:
    """Proposes those of a strategy's candidates that are left at the top of a ladder.

    Args:
        fidelities: the cheapest first.
        costs: what a proxy is traded off against.
        n_candidates: how many are proposed in all, so that the last generation is no larger than it has to be.
    """

    def __init__(
        self, strategy: Strategy, fidelities: Sequence[Fidelity], costs: Sequence[Metric], *, n_candidates: int
    ) -> None:
        self.generation = min(strategy.generation, GENERATION)
        self._strategy = strategy
        self._fidelities = fidelities
        self._costs = costs
        self._n_left = n_candidates
        self._waiting: deque[Candidate] = deque()

    def ask(self, rng: np.random.Generator, /) -> Candidate:
        """Return the next candidate of the generation, all of which is drawn and chosen when the first is asked for.

        Raises:
            OutOfReach: no candidate of the space meets the limits.
        """
        if not self._waiting:
            n = min(self.generation, self._n_left)
            drawn = [
                self._strategy.ask(one) for one in rng.spawn(n * prod(fidelity.factor for fidelity in self._fidelities))
            ]
            self._waiting.extend(climb(drawn, self._fidelities, self._costs, n=n))
            self._n_left -= n
        return self._waiting.popleft()

    def tell(self, results: Sequence[Result], /) -> None:
        """Tell the strategy the results of the generation."""
        self._waiting.clear()
        self._strategy.tell(results)


def climb(
    candidates: Sequence[Candidate], fidelities: Sequence[Fidelity], costs: Sequence[Metric], /, *, n: int
) -> list[Candidate]:
    """Return the `n` of `candidates` that are left at the top, the best of the last fidelity first.

    A candidate that comes twice is looked at once. Where there are too few of them, the best come again.
    """
    left = list(dict.fromkeys(candidates))
    for place, fidelity in enumerate(fidelities, start=1):
        n_kept = n * prod(higher.factor for higher in fidelities[place:])
        results = fidelity.score(left)
        left = [results[index].candidate for index in best(results, (fidelity.proxy, *costs), n_kept)]
    return [left[index % len(left)] for index in range(n)]


def best(results: Sequence[Result], objectives: Sequence[Metric], n: int, /) -> list[int]:
    """Return the indices of the `n` best of `results`: by front, on the last one those in the emptiest places.

    Ties keep their order. Those that are not DONE come last.
    Source: Deb 2002, NSGA-II, the survivors of a generation.
    """
    done = [index for index, result in enumerate(results) if result.status is Status.DONE]
    points = losses([results[index] for index in done], objectives)
    ranks, crowd = rank(points), np.zeros(len(done))
    for front in np.unique(ranks):
        crowd[ranks == front] = crowding(points[ranks == front])
    order = [done[place] for place in np.lexsort((-crowd, ranks))]  # stable
    rest = sorted(set(range(len(results))) - set(done))
    return [*order, *rest][:n]


def journaled(number: int, executor: Executor, journal: Journal, /) -> Score:
    """Return what scores candidates by `executor` and writes each result down, so that none is made twice.

    Args:
        number: of all jobs of this fidelity, below 0: candidates of the search have those from 0 on.
    """
    known = {
        result.candidate: result
        for record in journal.records(FIDELITY)
        if (result := Result.from_json(record)).number == number
    }

    def score(candidates: Sequence[Candidate]) -> list[Result]:
        for result in executor.run([Job(number, candidate) for candidate in candidates if candidate not in known]):
            journal.append(FIDELITY, result.to_json())
            known[result.candidate] = result
        return [known[candidate] for candidate in candidates]

    return score
