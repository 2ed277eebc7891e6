"""NSGA-II: the front breeds, the budget comes first.

Half of the draws and of the children use the limits up, the others smaller budgets. The first generation ranges from
uniform width to independent widths: on the digits parent at half the MACs uniform draws keep .35 to .39 mAP before any
training and independent ones .12 to .33, but only these can be better.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from evaluators.budget import Budget
from evaluators.metric import Metric
from evaluators.result import Result, Status
from search.pareto import crowding, losses, rank
from search.strategies.random_search import draw_new, spread_limits
from search.strategy import SearchSetup
from spaces.candidate import Candidate
from spaces.errors import BadInput
from spaces.searchable import SearchSpace

DIVERSITY = 0.8  # the widest spread of widths in the first generation, of which each draw takes a random share


class Fitness(NamedTuple):
    """How good a result is among others; less is better, compared from the left.

    Attributes:
        excess: by what fraction the worst limit is exceeded, 0.0 inside the budget.
        rank: its front among those inside the budget.
        crowd: minus the crowding distance on that front.
    """

    excess: float
    rank: int
    crowd: float


class NSGA2:
    """Breeds each generation from the best results so far.

    Args:
        limits: upper limits on the space's own costs, which every draw and child meets.
        budget: all limits, also on what is measured; what is over it ranks behind. By default `limits`.
        objectives: what is traded off; every DONE result must have their readings.
        population: how many parents are kept, and the size of a generation.
        spread: the lowest budget of a draw or child as a fraction of the limits, in (0, 1]; half of them have the
            limits themselves.
        crossover: the probability that a child has two parents; another child is a mutant of one.

    Raises:
        BadInput: a population below 2, or `spread` or `crossover` outside their ranges.
    Source: Deb 2002, NSGA-II: constrained domination, crowding, binary tournaments, elitism.
    """

    def __init__(
        self,
        space: SearchSpace,
        limits: Mapping[str, float],
        objectives: tuple[Metric, ...],
        *,
        budget: Budget | None = None,
        population: int = 24,
        spread: float = 0.5,
        crossover: float = 0.7,
    ) -> None:
        if population < 2 or not 0 < spread <= 1 or not 0 <= crossover <= 1:
            raise BadInput(
                "population must be at least 2, spread in (0, 1] and crossover in [0, 1], "
                f"got {population}, {spread} and {crossover}"
            )
        self.generation = population
        self._space = space
        self._limits = limits
        self._budget = Budget(limits) if budget is None else budget
        self._objectives = objectives
        self._spread = spread
        self._crossover = crossover
        self._asked: set[Candidate] = set()
        self._told: list[Result] = []
        self._parents: list[Candidate] = []  # the best first

    def ask(self, rng: np.random.Generator, /) -> Candidate:
        """Return a child of the parents, or a random draw while there are none; new if one is found.

        Raises:
            OutOfReach: no candidate of the space meets the limits.
        """
        return draw_new(lambda: self._draw(rng), asked=self._asked)

    def tell(self, results: Sequence[Result], /) -> None:
        """Choose the parents of the next generation from all results so far."""
        self._told += [result for result in results if result.status is not Status.FAILED]
        scores = fitness(self._told, self._objectives, budget=self._budget)
        order = sorted(range(len(self._told)), key=scores.__getitem__)
        self._parents = [self._told[index].candidate for index in order[: self.generation]]

    def _draw(self, rng: np.random.Generator) -> Candidate:
        limits = spread_limits(self._space, rng, limits=self._limits, spread=self._spread)
        if not self._parents:
            return self._space.sample(rng, limits=limits, diversity=DIVERSITY * float(rng.random()))
        parent = self._tournament(rng)
        if rng.random() < self._crossover:
            child = self._space.cross(parent, self._tournament(rng), rng, limits=self._limits)
            return self._space.fill(child, rng, limits=limits) if limits is self._limits else child
        return self._space.mutate(parent, rng, limits=limits)

    def _tournament(self, rng: np.random.Generator) -> Candidate:
        """Return the better of two random parents; they lie in order, so it is the one that lies first."""
        return self._parents[int(rng.integers(len(self._parents), size=2).min())]


def from_setup(setup: SearchSetup, /) -> NSGA2:
    """Return the strategy of `setup`."""
    return NSGA2(setup.space, setup.limits, setup.objectives, budget=setup.budget, spread=setup.spread)


def fitness(results: Sequence[Result], objectives: Sequence[Metric], /, *, budget: Budget) -> list[Fitness]:
    """Return the fitness of each of `results`, none of them FAILED.

    Those that are DONE come before those over budget, which are compared by their excess alone.

    Raises:
        ValueError: a DONE result lacks an objective.
    """
    done = [index for index, result in enumerate(results) if result.status is Status.DONE]
    points = losses([results[index] for index in done], objectives)
    ranks = rank(points)
    distances = np.zeros(len(done))
    for front in np.unique(ranks):
        distances[ranks == front] = crowding(points[ranks == front])
    scores = [Fitness(budget.excess(result.readings) or np.inf, 0, 0.0) for result in results]
    for place, index in enumerate(done):
        scores[index] = Fitness(0.0, int(ranks[place]), -float(distances[place]))
    return scores
