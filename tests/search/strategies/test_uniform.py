import numpy as np
import pytest

from evaluators.result import Job, Result
from search.loop import rng_for
from search.strategies.uniform import UniformSearch, evenly
from search.strategy import Strategy
from spaces.errors import BadInput, OutOfReach
from tests.contracts import StrategyContract
from tests.search.toy import ToySpace, decode, measure


class TestUniformSearch(StrategyContract):
    def make(self) -> Strategy:
        return UniformSearch(ToySpace(4), {"macs_g": 20.0}, spread=0.3)

    def measure(self, job: Job) -> Result:
        return measure(job)


def test_the_sequence_halves_what_is_left_open() -> None:
    assert [evenly(index) for index in range(8)] == [0, 1 / 2, 1 / 4, 3 / 4, 1 / 8, 5 / 8, 3 / 8, 7 / 8]


def test_budgets_begin_at_the_limits_and_are_spread_evenly_below_them() -> None:
    strategy = UniformSearch(ToySpace(8), {"macs_g": 64.0}, spread=0.5)
    costs = [int(decode(strategy.ask(rng_for(0, number))).sum()) for number in range(8)]
    assert costs == [64, 48, 56, 40, 60, 44, 52, 36]  # 64 - 32 * evenly(index)


def test_budget_below_the_reach_is_drawn_on_the_limits() -> None:
    strategy = UniformSearch(ToySpace(8), {"macs_g": 1.0}, spread=0.5)
    assert [int(decode(strategy.ask(rng_for(0, number))).sum()) for number in range(3)] == [1, 1, 1]
    with pytest.raises(OutOfReach):
        UniformSearch(ToySpace(), {"macs_g": 0.5}).ask(np.random.default_rng(0))


@pytest.mark.parametrize("spread", [0.0, -1.0, 1.1])
def test_spread_outside_its_range_is_refused(spread: float) -> None:
    with pytest.raises(BadInput, match="spread"):
        UniformSearch(ToySpace(), {"macs_g": 20.0}, spread=spread)
