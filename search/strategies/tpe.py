"""TPE: Optuna's multi-objective sampler over keep fractions, the sampler that the field compares with.

A parameter is the keep fraction of a block, one for all bases that have a block of its name; with several bases the
base is a parameter too. What TPE proposes is rounded to widths of the space and, where it is over the limits, made
narrower by the space: the point that TPE is told about is that candidate, not its own proposal. Its first candidates
are the draws that evolution begins with, not draws from all over the space, few of which would be near the budget.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution
from optuna.samplers import TPESampler
from optuna.trial import TrialState, create_trial

from evaluators.budget import Budget
from evaluators.metric import Metric
from evaluators.result import Result, Status
from search.strategies.random_search import draw_new, spread_limits
from search.strategy import SearchSetup
from spaces.candidate import Candidate
from spaces.errors import BadInput, OutOfReach
from spaces.searchable import BaseSpace, SearchSpace

BASE = "base"
DIVERSITY = 0.8  # as the first generation of evolution
GENERATION = 8
N_FIRST = 2 * GENERATION  # candidates before the first density; Optuna's own default is 10

Point = dict[str, str | float]


class TPE:
    """Proposes where candidates like the best ones are dense and others are not.

    Args:
        limits: upper limits on the space's own costs, which every proposal meets.
        objectives: what is traded off; every DONE result must have their readings.
        bases: the bases of `space` by name.
        budget: all limits, also on what is measured, which become constraints. By default `limits`.
        spread: the first candidates' lowest budget as a fraction of the limits, in (0, 1].

    Raises:
        BadInput: `spread` outside (0, 1].
        OutOfReach: no candidate of any base meets the limits.
    Source: Ozaki 2022, Multiobjective tree-structured Parzen estimator (doi:10.1613/jair.1.13188), by Optuna.
    """

    generation = GENERATION

    def __init__(
        self,
        space: SearchSpace,
        limits: Mapping[str, float],
        objectives: Sequence[Metric],
        *,
        bases: Mapping[str, BaseSpace],
        budget: Budget | None = None,
        spread: float = 0.5,
    ) -> None:
        if not 0 < spread <= 1:
            raise BadInput(f"spread must be in (0, 1], got {spread}")
        self._space = space
        self._limits = limits
        self._objectives = objectives
        self._budget = Budget(limits) if budget is None else budget
        self._spread = spread
        self._bases = _reaching(bases, limits)
        self._distributions = _distributions(self._bases)
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self._study = optuna.create_study(directions=["minimize"] * len(objectives))
        self._n_told = 0
        self._asked: set[Candidate] = set()
        self._pending: list[int] = []  # numbers of the trials that stand for what is asked and not told yet
        self._points: dict[Candidate, Point] = {}

    def ask(self, rng: np.random.Generator, /) -> Candidate:
        """Return a proposal that was not made before, as long as a hundred of them hold one.

        Raises:
            OutOfReach: no candidate of the space meets the limits.
        """
        candidate = draw_new(lambda: self._draw(rng), asked=self._asked)
        asked = create_trial(
            state=TrialState.RUNNING, params=self._points[candidate], distributions=self._distributions
        )
        self._study.add_trial(asked)  # those that run keep others of their generation away from them
        self._pending.append(len(self._study.get_trials(deepcopy=False)) - 1)
        return candidate

    def tell(self, results: Sequence[Result], /) -> None:
        """Take in a generation; what is over a measured limit is known by how far it is, what failed not at all."""
        for number in self._pending:
            self._study.tell(number, state=TrialState.FAIL)
        for result in results:
            if result.status is not Status.FAILED:
                self._study.add_trial(self._told(result))
                self._n_told += 1
        self._pending.clear()
        self._points.clear()

    def _draw(self, rng: np.random.Generator) -> Candidate:
        diversity = DIVERSITY * float(rng.random())
        proposed = self._proposed(int(rng.integers(2**32)))
        if self._n_told < N_FIRST:
            limits = spread_limits(self._space, rng, limits=self._limits, spread=self._spread)
            candidate = self._space.sample(rng, limits=limits, diversity=diversity)
        else:
            base = str(proposed.get(BASE, next(iter(self._bases))))
            shares = {name: float(value) for name, value in proposed.items() if name != BASE}
            drawn = self._bases[base].adopt(shares)
            candidate = self._space.cross(drawn, drawn, rng, limits=self._limits)
        self._points[candidate] = self._point(candidate, proposed)
        return candidate

    def _proposed(self, seed: int) -> Point:
        """Return what TPE proposes; its own generator is made anew, so nothing but `seed` and the results counts."""
        self._study.sampler = TPESampler(seed=seed, n_startup_trials=N_FIRST, multivariate=True)
        trial = self._study.ask(self._distributions)
        self._study.tell(trial, state=TrialState.FAIL)
        return dict(trial.params)

    def _point(self, candidate: Candidate, proposed: Point) -> Point:
        """Return `candidate` as TPE sees it; a block that its base lacks stays where it was proposed."""
        own = {name: share for name, share in self._bases[candidate.base].shares(candidate).items() if name in proposed}
        return {**proposed, **own, **({BASE: candidate.base} if BASE in proposed else {})}

    def _told(self, result: Result) -> optuna.trial.FrozenTrial:
        readings = result.readings
        return create_trial(
            params=self._points[result.candidate],
            distributions=self._distributions,
            # what is over a measured limit lacks some readings, but TPE ranks it by its constraints alone
            values=[
                metric.loss(readings[metric.name]) if metric.name in readings else 0.0 for metric in self._objectives
            ],
            constraints={
                name: readings[name] / limit - 1 for name, limit in self._budget.limits.items() if name in readings
            },
        )


def from_setup(setup: SearchSetup, /) -> TPE:
    """Return the strategy of `setup`."""
    return TPE(
        setup.space,
        setup.limits,
        setup.objectives,
        bases=setup.bases,
        budget=setup.budget,
        spread=setup.spread,
    )


def _reaching(bases: Mapping[str, BaseSpace], limits: Mapping[str, float]) -> dict[str, BaseSpace]:
    """Return those of `bases` that can meet `limits`."""
    reaching: dict[str, BaseSpace] = {}
    for name, each in bases.items():
        try:
            each.check(limits)
            reaching[name] = each
        except OutOfReach as error:
            refusal = error
    if not reaching:
        raise refusal
    return reaching


def _distributions(bases: Mapping[str, BaseSpace]) -> dict[str, BaseDistribution]:
    lowest: dict[str, float] = {}
    for each in bases.values():
        for gene in each.genes:
            if len(gene.options) > 1:
                lowest[gene.name] = min(gene.options[0] / gene.size, lowest.get(gene.name, 1.0))
    shares: dict[str, BaseDistribution] = {name: FloatDistribution(low, 1.0) for name, low in lowest.items()}
    return {**({BASE: CategoricalDistribution(tuple(bases))} if len(bases) > 1 else {}), **shares}
