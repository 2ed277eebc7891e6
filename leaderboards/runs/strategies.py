"""Which strategy a recipe names, made ready for its problem, and what that strategy is asked to improve."""

from collections.abc import Mapping

import numpy as np

from evaluators.metric import MACS, METRICS, SIZE, Metric
from evaluators.worker import Workshop
from leaderboards.recipes.demands import mask_of_recipe
from leaderboards.recipes.recipe import Recipe
from leaderboards.runs.problem import Problem
from search.strategies.evolution import NSGA2
from search.strategies.random_search import RandomSearch
from search.strategies.tpe import TPE
from search.strategies.uniform import UniformSearch
from search.strategies.unstructured import Unstructured
from search.strategy import Strategy
from spaces.bases.base import SAME
from spaces.bits.bit_space import BitSpace
from spaces.bits.layer_bits import BIT_COSTS
from spaces.candidate import Candidate
from spaces.informed_space import InformedSpace
from spaces.searchable import Bred
from spaces.space import ARITHMETIC_COSTS, Space
from spaces.union import Union

LOWEST_SHARE = 0.5  # the first generation of a search for a front starts at half the budget


def make_strategy(recipe: Recipe, problem: Problem, workshop: Workshop, /) -> Strategy:
    """Return what proposes the candidates of `recipe`."""
    limits = _arithmetic_limits(problem)
    searched = [str(plan.name) for plan in problem.plans if plan.name.backbone in recipe.backbones]
    spaces = {name: problem.bases[name].space for name in searched}
    bred: Mapping[str, Bred] = spaces
    if recipe.strategy == "informed":
        bred = {name: InformedSpace(space, workshop.bases[name].study.losses) for name, space in spaces.items()}
    union, goals = _union(recipe, workshop, spaces, bred), objectives(recipe, problem)
    match recipe.strategy:
        case "random":
            return RandomSearch(union, limits)
        case "uniform":
            return UniformSearch(union, limits, spread=LOWEST_SHARE)
        case "tpe":
            return TPE(union, limits, goals, widths=spaces, budget=problem.budget, spread=LOWEST_SHARE)
        case "unstructured":
            return Unstructured(Candidate(SAME, (mask_of_recipe(recipe).pick,)))
        case "informed" | "evolution":
            return NSGA2(union, limits, goals, budget=problem.budget, spread=LOWEST_SHARE)
    raise ValueError(f"strategy must be one that proposes by itself, got {recipe.strategy}")


def objectives(recipe: Recipe, problem: Problem, /) -> tuple[Metric, ...]:
    """Return the proxy and the limited costs; MACs where nothing is limited.

    With bits the size is among them where nothing that knows bits is limited: no other objective asks for few.
    """
    costs = tuple(METRICS[name] for name in problem.limits) or (MACS,)
    if recipe.bits and problem.limits.keys().isdisjoint(BIT_COSTS):
        costs = (*costs, SIZE)
    return (METRICS[recipe.proxy], *costs)


def _union(recipe: Recipe, workshop: Workshop, spaces: Mapping[str, Space], bred: Mapping[str, Bred], /) -> Union:
    """Return the spaces of all bases as one, with bits as genes where their layers may have some."""
    both = {}
    for name, space in spaces.items():
        studied = workshop.bases[name]
        if studied.base.table is not None:
            losses = studied.study.bit_losses if recipe.strategy == "informed" else None
            both[name] = BitSpace(space, bred[name], studied.base.table, sensitivity=losses)
    return Union({**spaces, **both}, {**bred, **both})


def _arithmetic_limits(problem: Problem) -> dict[str, float]:
    """Return the limits that arithmetic can tell; a guess of MACs stands for a latency, or for no limit."""
    limits = {name: limit for name, limit in problem.limits.items() if name in (*ARITHMETIC_COSTS, *BIT_COSTS)}
    if not limits or "latency_ms" in problem.limits:
        share = problem.limits.get("latency_ms", np.inf) / problem.parent_costs.get("latency_ms", 1.0)
        first_guess = min(1.0, share) * problem.parent_costs[MACS.name]  # latency about follows MACs
        limits[MACS.name] = max(min(first_guess, limits.get(MACS.name, np.inf)), problem.reach()[MACS.name][0])
    return limits
