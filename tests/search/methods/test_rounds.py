import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from search.methods.rounds import option_at_least, targets_of, widest
from spaces.space import Keep, Space
from tests.search.methods.rounds import Measured, chain_round, chain_space, macs
from tests.spaces.chain import chain_graph


def test_the_toy_space_costs_what_arithmetic_says() -> None:
    around = chain_round(Measured(lambda _: {}), limit=macs(np.array([4, 2])))
    assert around.use(np.array([4, 2])) == pytest.approx(1)
    assert around.use(around.whole()) == pytest.approx(macs(np.array([6, 5])) / macs(np.array([4, 2])))


def test_rounds_go_down_to_the_limit_in_equal_factors() -> None:
    # four times the limit in two rounds: each takes a factor of two
    assert [targets_of(4.0, number=number, n_rounds=2) for number in (1, 2)] == pytest.approx([2, 1])
    assert targets_of(4.0, number=1, n_rounds=1) == 1


def test_a_network_within_its_limits_is_left_no_less_than_these() -> None:
    assert targets_of(0.5, number=1, n_rounds=3) == 1


def test_counts_are_rounded_up_to_what_the_space_allows() -> None:
    space = Space(chain_graph(), align=4, keep_min=0.5)  # 6 channels: 4 or 6; 5 channels: 4 or 5
    assert [option_at_least(space, 0, count) for count in (0, 4, 4.5, 6)] == [4, 4, 6, 6]
    assert [option_at_least(space, 1, count) for count in (1, 5)] == [4, 5]
    assert option_at_least(chain_space(), 0, 3) == 3


@given(st.lists(st.integers(0, 20), min_size=1, max_size=12, unique=True), st.integers(-1, 21))
def test_the_lowest_threshold_that_fits_is_found_as_by_trying_all(thresholds: list[int], limit: int) -> None:
    thresholds.sort()

    def keep_at(threshold: float) -> Keep:
        return np.array([20 - int(threshold)])

    def fits(keep: Keep) -> bool:
        return bool(keep[0] <= limit)

    naive = next((keep for keep in map(keep_at, thresholds) if fits(keep)), keep_at(thresholds[-1]))
    assert widest(keep_at, thresholds, fits=fits) == naive
