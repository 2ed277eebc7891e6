"""The ladder of a recipe: arithmetic in this process, what builds networks where candidates are measured.

Fidelity number r of a ladder has jobs numbered -1 - r; candidates of the search have theirs from 0 on.
"""

from collections.abc import Container, Sequence
from functools import cache

from evaluators.budget import Budget
from evaluators.measure import GatedMeasure
from evaluators.metric import COSTS, LATENCY, MACS, Metric
from evaluators.proxies.by_name import METRICS, PROXIES
from evaluators.proxies.recovered import evaluator_of
from evaluators.result import Job
from evaluators.worker import Supernets
from leaderboards.recipes.ranking_keys import FidelityKey
from search.executor import Executor, InProcess
from search.journal import Journal
from search.strategies.ladder import Fidelity, Ladder, Score, journaled
from search.strategy import Strategy
from spaces.build import Builder, Subnet


def on_ladder(
    strategy: Strategy,
    /,
    *,
    ladder: Sequence[FidelityKey],
    n_candidates: int,
    limits: Container[str],
    supernets: Supernets,
    executor: Executor,
    journal: Journal,
) -> Strategy:
    """Return `strategy` at the foot of `ladder`; `strategy` itself where there is none.

    Args:
        n_candidates: of the whole search.
        limits: the names of the limited costs.
        executor: measures the jobs of fidelities beside those of candidates, as `make_measure` with these does.
    """
    if not ladder:
        return strategy
    fidelities = [
        Fidelity(
            METRICS[key.proxy],
            key.factor,
            _by_arithmetic(supernets, key.proxy)
            if not PROXIES[key.proxy].builds_network
            else journaled(-1 - place, executor, journal),
        )
        for place, key in enumerate(ladder)
    ]
    return Ladder(strategy, fidelities, _costs(limits), n_candidates=n_candidates)


def fidelity_proxies(ladder: Sequence[FidelityKey], /) -> dict[int, str]:
    """Return the proxy of each fidelity that workers measure, by the number of its jobs."""
    proxies = (key.proxy for key in ladder)
    return {-1 - place: proxy for place, proxy in enumerate(proxies) if PROXIES[proxy].builds_network}


def _costs(limits: Container[str]) -> tuple[Metric, ...]:
    """Return the limited costs that arithmetic tells; MACs stand for a latency, or for no limit."""
    limited = tuple(metric for metric in COSTS if metric.name in limits and metric is not LATENCY)
    return limited or (MACS,)


def _by_arithmetic(supernets: Supernets, proxy: str) -> Score:
    @cache
    def builder(base: str) -> Builder:
        return supernets.builder(base, "cpu")

    measure = GatedMeasure(
        supernets.costs,
        lambda candidate: Subnet(candidate, builder(candidate.base)),
        budget=Budget({}),
        gates=(),
        evaluators=(
            evaluator_of(proxy, supernets.same.calibration, supernets.recovery),
        ),  # none of these looks at an image
    )
    here = InProcess(measure)
    return lambda candidates: list(here.run([Job(-1, candidate) for candidate in candidates]))
