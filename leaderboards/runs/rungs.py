"""The ladder of a recipe: rungs of arithmetic in this process, those that build networks where candidates are measured.

Rung number r of a ladder has jobs numbered -1 - r; candidates of the search have theirs from 0 on.
"""

from functools import cache

from evaluators.budget import Budget
from evaluators.measure import Measure
from evaluators.metric import COSTS, LATENCY, MACS, METRICS, Metric
from evaluators.proxies.by_name import ARITHMETIC, PROXIES
from evaluators.worker import Workshop
from leaderboards.recipes.ranking_keys import read_rungs
from leaderboards.recipes.recipe import Recipe
from leaderboards.runs.problem import Problem
from search.executor import Executor, InProcess, Job
from search.journal import Journal
from search.strategies.ladder import Ladder, Rung, Score, journaled
from search.strategy import Strategy
from spaces.build import Builder, Subnet


def on_ladder(
    strategy: Strategy,
    recipe: Recipe,
    problem: Problem,
    /,
    *,
    workshop: Workshop,
    executor: Executor,
    journal: Journal,
) -> Strategy:
    """Return `strategy` at the foot of the ladder of `recipe`; `strategy` itself where it has none.

    Args:
        executor: measures the jobs of rungs beside those of candidates, as `make_measure` with these rungs does.
    """
    if not recipe.ladder:
        return strategy
    rungs = [
        Rung(
            METRICS[key.proxy],
            key.factor,
            _by_arithmetic(workshop, key.proxy)
            if key.proxy in ARITHMETIC
            else journaled(-1 - place, executor, journal),
        )
        for place, key in enumerate(read_rungs(recipe.ladder))
    ]
    return Ladder(strategy, rungs, _costs(problem), n_candidates=recipe.candidates)


def rung_proxies(recipe: Recipe, /) -> dict[int, str]:
    """Return the proxy of each rung that workers measure, by the number of its jobs."""
    proxies = (key.proxy for key in read_rungs(recipe.ladder))
    return {-1 - place: proxy for place, proxy in enumerate(proxies) if proxy not in ARITHMETIC}


def _costs(problem: Problem) -> tuple[Metric, ...]:
    """Return the limited costs that arithmetic tells; MACs stand for a latency, or for no limit."""
    limited = tuple(metric for metric in COSTS if metric.name in problem.limits and metric is not LATENCY)
    return limited or (MACS,)


def _by_arithmetic(workshop: Workshop, proxy: str) -> Score:
    @cache
    def builder(base: str) -> Builder:
        return workshop.builder(base, "cpu")

    measure = Measure(
        workshop.costs,
        lambda candidate: Subnet(candidate, builder(candidate.base)),
        budget=Budget({}),
        gates=(),
        evaluators=(PROXIES[proxy](workshop.same.calibration),),  # none of these looks at an image
    )
    here = InProcess(measure)
    return lambda candidates: list(here.run([Job(-1, candidate) for candidate in candidates]))
