"""What a strategy is made for, out of a problem and what is known of its bases."""

from collections.abc import Callable, Mapping
from contextlib import suppress

import numpy as np

from evaluators.metric import MACS, SIZE, Metric
from evaluators.proxies.by_name import METRICS
from evaluators.worker import Supernets
from leaderboards.recipes.parts import Ranking
from leaderboards.runs.problem import Problem
from search.strategies.by_name import STRATEGIES, make_strategy
from search.strategies.scouting import Scouting
from search.strategy import SearchSetup, Strategy
from spaces.bits.bit_space import BitSpace
from spaces.bits.layer_bits import BIT_COSTS
from spaces.candidate import Candidate
from spaces.errors import OutOfReach
from spaces.informed_space import InformedSpace
from spaces.searchable import BaseSpace
from spaces.space import ARITHMETIC_COSTS
from spaces.union import Union

MOST_SCOUTS = 0.25  # of all candidates
LOWEST_SHARE = 0.5  # the first generation of a search for a front starts at half the budget


def strategy_of(
    ranking: Ranking,
    problem: Problem,
    supernets: Supernets,
    /,
    *,
    on_ladder: Callable[[Strategy], Strategy] = lambda strategy: strategy,
) -> Strategy:
    """Return what proposes the candidates of a run: after one scout of each base, where there are several.

    Args:
        on_ladder: puts what draws candidates at the foot of the run's ladder; scouts are not screened.
    """
    is_informed = STRATEGIES[ranking.strategy].is_informed
    names = [str(plan.name) for plan in problem.plans if plan.is_searched]
    bases = {name: _space(supernets, name, is_informed=is_informed) for name in names}
    union, limits = Union(bases), _arithmetic_limits(problem)
    setup = SearchSetup(
        union,
        bases,
        limits,
        objectives(ranking.proxy, problem),
        problem.budget,
        LOWEST_SHARE,
        ranking.fixed,
    )
    strategy = on_ladder(make_strategy(ranking.strategy, setup))
    scouts = _scouts(bases, limits) if is_informed else []
    if not 1 < len(scouts) <= ranking.candidates * MOST_SCOUTS:
        return strategy
    return Scouting(strategy, scouts, metric=METRICS[ranking.proxy], favour=union.favour)


def _scouts(bases: Mapping[str, BaseSpace], limits: Mapping[str, float]) -> list[Candidate]:
    """Return for each of `bases` that can meet `limits` the candidate that is known to lose least there."""
    scouts = []
    for space in bases.values():
        with suppress(OutOfReach):
            scouts.append(space.sample(np.random.default_rng(0), limits=limits, diversity=0.0))
    return scouts


def objectives(proxy: str, problem: Problem, /) -> tuple[Metric, ...]:
    """Return the proxy and the limited costs; MACs where nothing is limited.

    With bits the size is among them where nothing that knows bits is limited: no other objective asks for few.
    """
    costs = tuple(METRICS[name] for name in problem.limits) or (MACS,)
    if problem.has_bits and problem.limits.keys().isdisjoint(BIT_COSTS):
        costs = (*costs, SIZE)
    return (METRICS[proxy], *costs)


def _space(supernets: Supernets, name: str, *, is_informed: bool) -> BaseSpace:
    """Return the space of one base: informed of what it loses, with bits as genes where its layers may have some."""
    base, study = supernets.bases[name].base, supernets.bases[name].study
    widths: BaseSpace = InformedSpace(base.space, study.losses) if is_informed else base.space
    if base.table is None:
        return widths
    return BitSpace(base.space, widths, base.table, sensitivity=study.bit_losses if is_informed else None)


def _arithmetic_limits(problem: Problem) -> dict[str, float]:
    """Return the limits that arithmetic can tell; a guess of MACs stands for a latency, or for no limit."""
    limits = {name: limit for name, limit in problem.limits.items() if name in (*ARITHMETIC_COSTS, *BIT_COSTS)}
    if not limits or "latency_ms" in problem.limits:
        share = problem.limits.get("latency_ms", np.inf) / problem.parent_costs.get("latency_ms", 1.0)
        first_guess = min(1.0, share) * problem.parent_costs[MACS.name]  # latency about follows MACs
        limits[MACS.name] = max(min(first_guess, limits.get(MACS.name, np.inf)), problem.reach()[MACS.name][0])
    return limits
