from collections.abc import Sequence
from pathlib import Path

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from evaluators.metric import LOSS, MACS
from evaluators.proxies.by_name import METRICS
from evaluators.result import Job, Result, Status
from evaluators.worker import by_number
from search.executor import InProcess
from search.journal import Journal
from search.loop import search
from search.strategies.evolution import NSGA2
from search.strategies.ladder import FIDELITY, GENERATION, Fidelity, Ladder, best, climb, journaled
from search.strategies.random_search import RandomSearch
from search.strategy import Strategy
from spaces.candidate import Candidate
from tests.contracts import StrategyContract
from tests.search.toy import OBJECTIVES, ToySpace, decode, ignore, measure

BLOCK_LOSS = METRICS["block_loss"]
points = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=1, max_size=14)


def candidate(number: int) -> Candidate:
    return Candidate("same", (("g0", number),))


def result(number: int, loss: float, macs: float) -> Result:
    return Result(-1, candidate(number), Status.DONE, {"loss": loss, "macs_g": macs}, 0.0)


def rough(job: tuple[int, Candidate]) -> Result:
    """Score by the first gene's lack alone: less than half of what is to be known."""
    number, one = job
    genes = decode(one)
    readings = {"block_loss": float(9 - genes[-1]), "macs_g": float(genes.sum())}
    return Result(number, one, Status.DONE, readings, 0.0)


def score(candidates: Sequence[Candidate]) -> list[Result]:
    return list(InProcess(rough).run([Job(-1, one) for one in candidates]))


def ladder_of(strategy: Strategy, *fidelities: Fidelity, n: int = 60) -> Ladder:
    return Ladder(strategy, fidelities or [Fidelity(BLOCK_LOSS, 4, score)], (MACS,), n_candidates=n)


class TestLadderOnEvolution(StrategyContract):
    def make(self) -> Strategy:
        return ladder_of(NSGA2(ToySpace(5), {"macs_g": 20}, OBJECTIVES, population=10))

    def measure(self, job: Job) -> Result:
        return measure(job)


class TestLadderOnRandomSearch(StrategyContract):
    def make(self) -> Strategy:
        return ladder_of(RandomSearch(ToySpace(5), {"macs_g": 20}, spread=0.3))

    def measure(self, job: Job) -> Result:
        return measure(job)


@given(points, st.integers(0, 14))
def test_no_candidate_stays_while_one_that_dominates_it_goes(pairs: list[tuple[int, int]], n: int) -> None:
    results = [result(number, *pair) for number, pair in enumerate(pairs)]
    kept = best(results, (LOSS, MACS), n)
    assert len(kept) == len(set(kept)) == min(n, len(pairs))
    gone = set(range(len(pairs))) - set(kept)
    for a in gone:
        for b in kept:
            is_better = pairs[a] != pairs[b] and all(x <= y for x, y in zip(pairs[a], pairs[b], strict=True))
            assert not is_better


def test_budgets_are_compared_together_not_by_the_proxy_alone() -> None:
    # by the loss alone 0, 1 and 2 would stay: three of the large ones
    large = [result(0, 1.0, 9.0), result(1, 1.1, 9.5), result(2, 1.2, 9.6)]
    small = [result(3, 3.0, 3.0), result(4, 3.5, 3.5), result(5, 2.0, 6.0)]
    assert set(best([*large, *small], (LOSS, MACS), 3)) == {0, 3, 5}


def test_what_failed_comes_last_in_its_order() -> None:
    failed = [Result(-1, candidate(number), Status.FAILED, {}, 0.0, "E: x") for number in (7, 8)]
    assert best([failed[0], result(1, 2.0, 1.0), failed[1], result(2, 1.0, 1.0)], (LOSS, MACS), 3) == [3, 1, 0]


def test_each_fidelity_gets_its_share_and_hands_on_the_rest() -> None:
    seen: list[int] = []

    def counted(candidates: Sequence[Candidate]) -> list[Result]:
        seen.append(len(candidates))
        return [result(one.picks[0][1], float(one.picks[0][1]), 0.0) for one in candidates]

    fidelities = [Fidelity(LOSS, 5, counted), Fidelity(LOSS, 3, counted)]
    left = climb([candidate(number) for number in range(30, 0, -1)], fidelities, (MACS,), n=2)
    assert seen == [30, 6]  # 2 x 3 x 5, then 2 x 3
    assert left == [candidate(1), candidate(2)]  # the lowest loss at equal MACs first


def test_repeated_proposals_are_looked_at_once_and_too_few_come_again() -> None:
    fidelities = [
        Fidelity(LOSS, 2, lambda found: [result(one.picks[0][1], float(one.picks[0][1]), 0.0) for one in found])
    ]
    assert climb([candidate(5), candidate(3), candidate(5)], fidelities, (MACS,), n=3) == [
        candidate(3), candidate(5), candidate(3),
    ]  # fmt: skip


def test_the_last_generation_draws_no_more_than_it_needs() -> None:
    class Counting(RandomSearch):
        n = 0

        def ask(self, rng: np.random.Generator, /) -> Candidate:
            self.n += 1
            return super().ask(rng)

    strategy = Counting(ToySpace(5), {"macs_g": 20}, spread=0.3)
    ladder = ladder_of(strategy, n=GENERATION + 2)
    for number in range(GENERATION + 2):
        ladder.ask(np.random.default_rng(number))
    assert strategy.n == 4 * (GENERATION + 2)


def play(journal: Journal, *, n: int, n_made: list[int]) -> list[Result]:
    """Return the results of a search up a ladder with one fidelity of arithmetic and one that is written down."""

    def counted(job: Job) -> Result:
        n_made.append(job.number)
        return by_number(measure, {-2: rough})(job)

    executor = InProcess(counted)
    strategy = NSGA2(ToySpace(5), {"macs_g": 20}, OBJECTIVES, population=6)
    fidelities = [Fidelity(BLOCK_LOSS, 3, score), Fidelity(BLOCK_LOSS, 2, journaled(-2, executor, journal))]
    return search(ladder_of(strategy, *fidelities, n=18), executor, journal, n_candidates=n, seed=1, on_result=ignore)


def test_a_search_that_was_killed_anywhere_goes_on_as_if_it_had_not_been(tmp_path: Path) -> None:
    whole = tmp_path / "whole.jsonl"
    with Journal(whole, {}) as journal:
        expected = play(journal, n=18, n_made=[])
        assert len(journal.records(FIDELITY)) == 2 * 18
    lines = whole.read_bytes().splitlines(keepends=True)
    for n_lines in range(1, len(lines) + 1, 11):
        cut = tmp_path / f"{n_lines}.jsonl"
        cut.write_bytes(b"".join(lines[:n_lines]))
        made: list[int] = []
        with Journal(cut, {}) as journal:
            assert play(journal, n=18, n_made=made) == expected
        assert len(made) == len(lines) - n_lines  # nothing is made twice, nothing left out
        assert sorted(cut.read_bytes().splitlines()) == sorted(line.rstrip(b"\n") for line in lines)


def test_a_fidelity_finds_what_is_better_than_chance(tmp_path: Path) -> None:
    def mean_loss(strategy: Strategy) -> float:
        with Journal(tmp_path / f"{type(strategy).__name__}.jsonl", {}) as journal:
            results = search(strategy, InProcess(measure), journal, n_candidates=24, seed=0, on_result=ignore)
        return float(np.mean([one.readings["loss"] for one in results]))

    space = ToySpace(5)
    chance = mean_loss(RandomSearch(space, {"macs_g": 20}))
    assert mean_loss(ladder_of(RandomSearch(space, {"macs_g": 20}), n=24)) < 0.9 * chance
