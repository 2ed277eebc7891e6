from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from evaluators.budget import Budget
from evaluators.result import Job, Result, Status
from search.executor import InProcess
from search.journal import Journal
from search.loop import rng_for, search
from search.pareto import hypervolume, losses
from search.strategies.random_search import RandomSearch
from search.strategies.tpe import GENERATION, N_FIRST, TPE
from search.strategy import Strategy
from spaces.candidate import Candidate
from spaces.errors import BadInput, OutOfReach
from tests.contracts import StrategyContract
from tests.search.toy import OBJECTIVES, ToySpace, decode, ignore, measure

LIMITS = {"macs_g": 20.0}


def make(n_genes: int = 4, *, budget: Budget | None = None) -> TPE:
    space = ToySpace(n_genes)
    return TPE(space, LIMITS, OBJECTIVES, bases={"same": space}, budget=budget)


class TestTPE(StrategyContract):
    def make(self) -> Strategy:
        return make()

    def measure(self, job: Job) -> Result:
        return measure(job)


def volume(strategy: Strategy, folder: Path, *, seed: int) -> float:
    with Journal(folder / f"{seed}.jsonl", {}) as journal:
        results = search(strategy, InProcess(measure), journal, n_candidates=96, seed=seed, on_result=ignore)
    return hypervolume(losses(results, OBJECTIVES), reference=[9.0 * 255, 73.0])


def test_tpe_covers_more_than_random_search(tmp_path: Path) -> None:
    (tmp_path / "random").mkdir()
    ours = [volume(make(8), tmp_path, seed=seed) for seed in range(2)]
    random = [
        volume(RandomSearch(ToySpace(8), LIMITS, spread=0.5), tmp_path / "random", seed=seed) for seed in range(2)
    ]
    assert min(ours) > max(random)


def test_proposals_depend_on_the_seed_and_the_results_alone() -> None:
    first, second = make(), make()
    for strategy in (first, second):
        for start in range(0, 3 * GENERATION, GENERATION):
            jobs = [Job(number, strategy.ask(rng_for(1, number))) for number in range(start, start + GENERATION)]
            strategy.tell([measure(job) for job in jobs])
        if strategy is first:
            make().ask(rng_for(9, 9))  # another one in between leaves no trace
    assert first.ask(rng_for(1, 99)) == second.ask(rng_for(1, 99))


def test_what_is_over_a_measured_limit_is_avoided() -> None:
    # latency is 1 for each channel of gene 0: at most 2 of them may stay, though they gain something
    strategy = make(4, budget=Budget({**LIMITS, "latency_ms": 2.0}))

    def judged(job: Job) -> Result:
        readings = {"macs_g": measure(job).readings["macs_g"], "latency_ms": float(decode(job.candidate)[0])}
        if readings["latency_ms"] > 2:
            return Result(job.number, job.candidate, Status.OVER_BUDGET, readings, 0.0)
        return Result(job.number, job.candidate, Status.DONE, {**measure(job).readings, **readings}, 0.0)

    n_over = []
    for start in range(0, 12 * GENERATION, GENERATION):
        jobs = [Job(number, strategy.ask(rng_for(0, number))) for number in range(start, start + GENERATION)]
        results = [judged(job) for job in jobs]
        strategy.tell(results)
        n_over.append(sum(result.status is Status.OVER_BUDGET for result in results))
    assert sum(n_over[-4:]) < sum(n_over[: N_FIRST // GENERATION])  # twice as many, and fewer over


class Far(ToySpace):
    def check(self, limits: Mapping[str, float], /) -> None:
        raise OutOfReach(f"far from {limits}")


def test_of_two_bases_only_the_one_in_reach_is_proposed() -> None:
    space = ToySpace(4)
    strategy = TPE(space, LIMITS, OBJECTIVES, bases={"far": Far(4), "same": space})
    assert {strategy.ask(rng_for(0, number)).base for number in range(4)} == {"same"}
    with pytest.raises(OutOfReach, match="far from"):
        TPE(space, LIMITS, OBJECTIVES, bases={"far": Far(4)})


class Other(ToySpace):
    def adopt(self, shares: Mapping[str, float], /) -> Candidate:
        return Candidate("other", super().adopt(shares).picks)


class Both(ToySpace):
    def sample(self, rng: np.random.Generator, /, *, limits: Mapping[str, float], diversity: float = 1.0) -> Candidate:
        base = ("same", "other")[int(rng.integers(2))]
        return Candidate(base, super().sample(rng, limits=limits, diversity=diversity).picks)

    def cross(
        self, first: Candidate, second: Candidate, rng: np.random.Generator, /, *, limits: Mapping[str, float]
    ) -> Candidate:
        return Candidate(first.base, super().cross(first, second, rng, limits=limits).picks)


def handicapped(job: Job) -> Result:
    readings = measure(job).readings
    loss = readings["loss"] + 100 * (job.candidate.base == "other")
    return Result(job.number, job.candidate, Status.DONE, {**readings, "loss": loss}, 0.0)


def test_the_base_is_proposed_too() -> None:
    # every candidate of the other base loses 100 more
    strategy = TPE(Both(4), LIMITS, OBJECTIVES, bases={"same": ToySpace(4), "other": Other(4)})
    bases: list[str] = []
    for start in range(0, 8 * GENERATION, GENERATION):
        jobs = [Job(number, strategy.ask(rng_for(0, number))) for number in range(start, start + GENERATION)]
        strategy.tell([handicapped(job) for job in jobs])
        bases += [job.candidate.base for job in jobs]
    assert {"same", "other"} <= set(bases[:N_FIRST])
    assert bases[-2 * GENERATION :].count("same") > GENERATION


def test_spread_outside_its_range_is_refused() -> None:
    space = ToySpace()
    with pytest.raises(BadInput, match="spread"):
        TPE(space, LIMITS, OBJECTIVES, bases={"same": space}, spread=0.0)
