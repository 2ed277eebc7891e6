from pathlib import Path

import numpy as np
import pytest

from evaluators.budget import Budget
from evaluators.result import Job, Result, Status
from search.executor import InProcess
from search.journal import Journal
from search.loop import search
from search.pareto import hypervolume, losses
from search.strategies.evolution import NSGA2, fitness
from search.strategies.random_search import RandomSearch
from search.strategy import Strategy
from spaces.candidate import Candidate
from spaces.channels.graph import Axis, Block, ChannelGraph, Layer
from spaces.errors import BadInput
from spaces.space import Space
from tests.contracts import StrategyContract
from tests.search.toy import OBJECTIVES, ToySpace, ignore, measure

LIMITS = {"macs_g": 20.0}
REFERENCE = [9.0 * 255, 73.0]  # just outside: nothing kept, everything spent


class TestNSGA2(StrategyContract):
    def make(self) -> Strategy:
        return NSGA2(ToySpace(4), LIMITS, OBJECTIVES, population=10)

    def measure(self, job: Job) -> Result:
        return measure(job)


def volume(strategy: Strategy, seed: int, tmp_path_factory: pytest.TempPathFactory) -> float:
    with Journal(tmp_path_factory.mktemp("run") / "journal.jsonl", {}) as journal:
        results = search(strategy, InProcess(measure), journal, n_candidates=240, seed=seed, on_result=ignore)
    return hypervolume(losses(results, OBJECTIVES), reference=REFERENCE)


def test_evolution_covers_more_than_random_search(tmp_path_factory: pytest.TempPathFactory) -> None:
    # the best for a cost c fills the genes from the last: the whole front and its volume are known
    fill = [np.clip(cost - 9 * np.arange(7, -1, -1), 0, 9) for cost in range(73)]
    front = np.array([[((9 - genes) * 2.0 ** np.arange(8)).sum(), genes.sum()] for genes in fill])
    best = hypervolume(front, reference=REFERENCE)
    space, limits = ToySpace(8), {"macs_g": 72.0}
    for seed in range(3):
        bred = volume(NSGA2(space, limits, OBJECTIVES, spread=0.05), seed, tmp_path_factory)
        drawn = volume(RandomSearch(space, limits, spread=0.05), seed, tmp_path_factory)
        assert drawn < bred <= best
        assert bred > 0.9 * best


def chain(n_blocks: int, size: int) -> ChannelGraph:
    """A chain of 1 x 1 convolutions at 100 positions, whose inner channels may be cut."""
    whole, atoms = np.full(size, -1), np.arange(size)
    axes = {}
    for index in range(n_blocks):
        axes[f"{index}.weight", 0] = axes[f"{index + 1}.weight", 1] = Axis(whole + 1 + index, atoms)
    names = tuple(f"{index}.weight" for index in range(n_blocks + 1))
    return ChannelGraph(
        blocks=tuple(Block(str(index), size, 1) for index in range(n_blocks)),
        axes=axes,
        layers=tuple(Layer(name, 100, is_depthwise=False) for name in names),
        scales=frozenset(),
        shapes=dict.fromkeys(names, (size, size, 1, 1)),
        parameters=names,
        other_macs=0,
        kept_whole={},
    )


def test_search_of_a_real_space_stays_inside_its_limits(tmp_path: Path) -> None:
    space = Space(chain(6, 64), align=4)
    limit = 0.5 * space.reach()["macs_g"][1]

    def cost(job: Job) -> Result:
        readings = {"loss": -float(space.decode(job.candidate)[0]), **space.costs(job.candidate)}
        return Result(*job, Status.DONE, readings, 0.0)

    strategy = NSGA2(space, {"macs_g": limit}, OBJECTIVES, population=10, spread=0.4)
    with Journal(tmp_path / "journal.jsonl", {}) as journal:
        results = search(strategy, InProcess(cost), journal, n_candidates=60, seed=0, on_result=ignore)
    assert all(result.readings["macs_g"] <= limit for result in results)
    assert len({result.candidate.id for result in results}) == 60


def result(number: int, loss: float, macs_g: float, status: Status = Status.DONE) -> Result:
    readings = {"macs_g": macs_g} if status is Status.OVER_BUDGET else {"loss": loss, "macs_g": macs_g}
    return Result(number, Candidate("same", (("g0", number),)), status, readings, 0.0)


def test_results_inside_the_budget_come_first_then_the_least_over() -> None:
    results = [
        result(0, 0, 30, Status.OVER_BUDGET),
        result(1, 5, 5),
        result(2, 0, 22, Status.OVER_BUDGET),
        result(3, 4, 4),
        result(4, 1, 9),
    ]
    scores = fitness(results, OBJECTIVES, budget=Budget(LIMITS))
    # 3 and 4 are the front (ends, so infinitely uncrowded), 1 is dominated by 3, then 10 % over, then 50 % over
    assert sorted(range(5), key=scores.__getitem__) == [3, 4, 1, 2, 0]
    assert [score.rank for score in scores] == [0, 1, 0, 0, 0]
    assert [score.excess for score in scores] == pytest.approx([0.5, 0.0, 0.1, 0.0, 0.0])


def test_failed_results_are_no_parents() -> None:
    strategy = NSGA2(ToySpace(2), LIMITS, OBJECTIVES, population=2, crossover=0.0)
    good = result(0, 1, 1)
    bad = Result(1, Candidate("same", (("g0", 9), ("g1", 9))), Status.FAILED, {}, 0.0, "E: no")
    strategy.tell([Result(0, Candidate("same", (("g0", 0), ("g1", 0))), Status.DONE, good.readings, 0.0), bad])
    children = [strategy.ask(np.random.default_rng(seed)) for seed in range(10)]
    # One gene of the only parent is changed, and then three in ten are filled up.
    assert sum(any(value == 0 for _, value in child.picks) for child in children) >= 4


@pytest.mark.parametrize(("population", "spread", "crossover"), [(1, 0.5, 0.5), (4, 0.0, 0.5), (4, 0.5, 1.5)])
def test_setting_outside_its_range_is_refused(population: int, spread: float, crossover: float) -> None:
    with pytest.raises(BadInput, match=f"got {population}, {spread} and {crossover}"):
        NSGA2(ToySpace(), LIMITS, OBJECTIVES, population=population, spread=spread, crossover=crossover)
