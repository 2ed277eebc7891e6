from collections.abc import Mapping, Sequence

import numpy as np
import pytest

from evaluators.metric import LOSS, MAP, Metric
from evaluators.result import Result, Status
from search.loop import rng_for
from search.strategies.scouting import LEAST, TOLERANCE, Scouting, chances
from spaces.candidate import Candidate

SCOUTS = [Candidate("same", (("a", 1),)), Candidate("same@32", (("a", 2),))]


class Recorder:
    """Proposes one candidate for ever and keeps what it is told."""

    generation = 7

    def __init__(self) -> None:
        self.told: list[list[Result]] = []

    def ask(self, _: np.random.Generator, /) -> Candidate:
        return Candidate("same", (("b", 2),))

    def tell(self, results: Sequence[Result], /) -> None:
        self.told.append(list(results))


def result(candidate: Candidate, reading: float, status: Status = Status.DONE) -> Result:
    return Result(0, candidate, status, {"map50_95": reading, "loss": reading}, 0.0)


def test_scouts_go_first_and_are_told_with_the_first_results_of_the_strategy_itself() -> None:
    inner = Recorder()
    favoured: list[Mapping[str, float]] = []
    strategy = Scouting(inner, SCOUTS, metric=MAP, favour=favoured.append)
    assert strategy.generation == 2
    assert [strategy.ask(rng_for(0, number)) for number in range(2)] == SCOUTS
    scouted = [result(candidate, 0.5) for candidate in SCOUTS]
    strategy.tell(scouted)
    assert (favoured, inner.told, strategy.generation) == ([{"same": 1.0, "same@32": 1.0}], [], 7)
    own = [result(strategy.ask(rng_for(0, 2)), 0.6)]
    strategy.tell(own)
    strategy.tell(own)
    assert inner.told == [scouted + own, own]


@pytest.mark.parametrize(("metric", "readings"), [(MAP, (0.5, 0.45)), (LOSS, (5.0, 5.5))])
def test_a_base_whose_scout_is_worse_has_less_chance(metric: Metric, readings: tuple[float, float]) -> None:
    found = chances([result(*pair) for pair in zip(SCOUTS, readings, strict=True)], metric)
    assert found == {"same": 1.0, "same@32": pytest.approx(np.exp(-0.1 / TOLERANCE))}


def test_only_what_was_measured_counts() -> None:
    failed = result(SCOUTS[1], 0.9, Status.OVER_BUDGET)
    assert chances([result(SCOUTS[0], 0.1), failed], MAP) == {"same": 1.0}
    assert chances([failed], MAP) == {}


def test_the_worst_base_can_still_be_drawn_from() -> None:
    assert chances([result(SCOUTS[0], 0.5), result(SCOUTS[1], 1e6)], LOSS) == {"same": 1.0, "same@32": LEAST}


def test_a_whole_network_keeps_no_draws_from_one_that_is_cut() -> None:
    whole = result(Candidate("same@32", ()), 0.6)
    assert chances([result(SCOUTS[0], 0.5), whole], MAP) == {"same": 1.0, "same@32": 1.0}
    assert chances([whole], MAP) == {"same@32": 1.0}
