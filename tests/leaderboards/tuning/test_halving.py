import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from leaderboards.recipes.reading import read_recipe
from leaderboards.tuning.halving import epochs_each, n_rungs, stopped
from search.pareto import is_front
from spaces.errors import BadInput


def test_rungs_halve_the_rows_to_one_if_the_epochs_last() -> None:
    assert n_rungs(40, 8) == 4  # 8, 4, 2, 1
    assert n_rungs(40, 5) == 4  # 5, 3, 2, 1
    assert n_rungs(9, 4) == 2  # 9 // 4: two epochs each if none stops
    assert n_rungs(4, 4) == 1
    assert n_rungs(10, 1) == 1


def test_a_budget_without_an_epoch_for_each_row_is_refused() -> None:
    with pytest.raises(ValueError, match="got 3 for 4"):
        n_rungs(3, 4)
    with pytest.raises(
        BadInput, match="epoch_budget: must have at least one epoch for each of the front=4 rows, got '3'"
    ):
        read_recipe(["purse=3"])
    with pytest.raises(BadInput, match="which finetune_epochs=0 forbids"):
        read_recipe(["purse=8", "finetune_epochs=0"])
    assert read_recipe(["purse=4"]).epoch_budget == 4


@given(st.integers(1, 20), st.integers(0, 200), st.lists(st.integers(0, 20), min_size=10, max_size=10))
def test_no_rung_is_without_an_epoch_and_no_budget_is_overdrawn(n_rows: int, more: int, stop: list[int]) -> None:
    budget = left = n_rows + more
    n_all = n_rungs(budget, n_rows)
    for number in range(n_all):
        each = epochs_each(left, n_rows=n_rows, n_rungs=n_all - number)
        assert each >= 1
        left -= each * n_rows
        unspendable = n_rows
        n_rows -= min(stop[number], n_rows // 2)
    assert 0 <= left < unspendable  # the last rung leaves less than an epoch for each of its rows


def test_nothing_stops_while_each_row_is_best_at_its_cost() -> None:
    assert stopped(np.array([[-0.7, 3.0], [-0.6, 2.0], [-0.5, 1.0]])).tolist() == []


def test_what_is_dominated_stops_the_worst_first_and_at_most_half() -> None:
    best, second, third, apart = [-0.9, 1.0], [-0.8, 2.0], [-0.7, 3.0], [-0.1, 0.5]
    assert stopped(np.array([third, best, apart, second])).tolist() == [0, 3]
    assert stopped(np.array([third, best, second])).tolist() == [0]  # half of three, rounded down
    assert stopped(np.array([best, second])).tolist() == [1]


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4), st.integers(0, 4)), min_size=1, max_size=9))
def test_a_row_that_stops_is_beaten_by_one_that_goes_on(rows: list[tuple[int, int, int]]) -> None:
    points = np.array(rows, float)
    out = stopped(points)
    assert len(out) <= len(points) // 2
    on = np.setdiff1d(np.arange(len(points)), out)
    assert not is_front(points)[out].any()
    for index in out:
        assert any((points[other] <= points[index]).all() and (points[other] < points[index]).any() for other in on)
