import numpy as np
import pytest

from evaluators.result import Job, Result
from search.loop import rng_for
from search.strategies.random_search import RandomSearch
from search.strategy import Strategy
from spaces.errors import BadInput, OutOfReach
from tests.contracts import StrategyContract
from tests.search.toy import ToySpace, decode, measure


class TestRandomSearch(StrategyContract):
    def make(self) -> Strategy:
        return RandomSearch(ToySpace(4), {"macs_g": 20.0}, spread=0.3)

    def measure(self, job: Job) -> Result:
        return measure(job)


def costs(limit: float, spread: float, n: int = 50) -> list[int]:
    strategy = RandomSearch(ToySpace(8), {"macs_g": limit}, spread=spread)
    return [int(decode(strategy.ask(rng_for(0, number))).sum()) for number in range(n)]


def test_spread_of_one_is_exactly_on_budget() -> None:
    assert set(costs(40.0, 1.0)) == {40}


def test_half_of_a_spread_is_on_the_limits_and_half_fills_the_range_evenly_in_its_logarithm() -> None:
    drawn = np.array(costs(64.0, 1 / 16, 200))
    assert drawn.min() < 8 and drawn.max() > 56
    below = drawn[drawn < 64]
    assert 0.35 < len(below) / len(drawn) < 0.65
    assert 0.35 < (below < 16).mean() < 0.65  # 16 = 64 / sqrt(16), the middle of the logarithms


def test_targets_below_the_reach_are_drawn_again() -> None:
    assert min(costs(2.0, 0.01, 8)) >= 1


def test_limit_below_the_reach_is_out_of_reach() -> None:
    with pytest.raises(OutOfReach):
        RandomSearch(ToySpace(), {"macs_g": 0.5}, spread=0.5).ask(rng_for(0, 0))


def test_exhausted_space_repeats_itself_instead_of_hanging() -> None:
    assert costs(1.0, 1.0, 12) == [1] * 12  # only eight candidates cost 1


@pytest.mark.parametrize("spread", [0.0, -1.0, 1.1])
def test_spread_outside_its_range_is_refused(spread: float) -> None:
    with pytest.raises(BadInput, match="spread"):
        RandomSearch(ToySpace(), {"macs_g": 20.0}, spread=spread)
