import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from evaluators.metric import MACS, MAP
from evaluators.result import Result, Status
from search.pareto import Losses, crowding, hypervolume, is_front, losses, rank, select_spread
from spaces.candidate import Candidate

points_2d_3d = st.integers(2, 3).flatmap(
    lambda m: arrays(np.float64, st.tuples(st.integers(1, 12), st.just(m)), elements=st.integers(0, 6).map(float))
)


def dominates(a: Losses, b: Losses) -> bool:
    return bool((a <= b).all() and (a < b).any())


def naive_rank(points: Losses) -> list[int]:
    ranks = [-1] * len(points)
    for front in range(len(points)):
        left = [i for i, r in enumerate(ranks) if r in (-1, front)]
        for i in left:
            if not any(dominates(points[j], points[i]) for j in left):
                ranks[i] = front
    return ranks


@given(points_2d_3d)
def test_ranks_equal_a_naive_sort(points: Losses) -> None:
    assert rank(points).tolist() == naive_rank(points)
    assert is_front(points).tolist() == [r == 0 for r in naive_rank(points)]


@given(points_2d_3d)
def test_front_of_a_front_is_itself(points: Losses) -> None:
    assert is_front(points[is_front(points)]).all()


@given(points_2d_3d)
def test_adding_a_point_never_lowers_hypervolume(points: Losses) -> None:
    reference = [7.0] * points.shape[1]
    assert hypervolume(points, reference=reference) >= hypervolume(points[1:], reference=reference)


@given(points_2d_3d)
def test_hypervolume_counts_dominated_cells(points: Losses) -> None:
    # integer points below 7: the volume is the number of unit cells whose lower corner is weakly dominated
    corners = np.stack(np.meshgrid(*[np.arange(7)] * points.shape[1]), -1).reshape(-1, points.shape[1])
    covered = np.any(np.all(points[None] <= corners[:, None], axis=2), axis=1).sum()
    assert hypervolume(points, reference=[7.0] * points.shape[1]) == pytest.approx(covered)


@given(points_2d_3d, st.integers(0, 14))
def test_spread_takes_better_fronts_first_and_nothing_twice(points: Losses, n: int) -> None:
    chosen = select_spread(points, n)
    assert len(chosen) == len(set(chosen.tolist())) == min(n, len(points))
    assert (np.diff(rank(points)[chosen]) >= 0).all()


def test_spread_covers_both_ends_and_the_knee() -> None:
    # the knee (1, 1) dominates most; then come the ends, not its neighbours
    points = np.array([[0.0, 10.0], [0.9, 1.2], [1.0, 1.0], [1.2, 0.9], [10.0, 0.0]])
    assert select_spread(points, 1).tolist() == [2]
    assert set(select_spread(points, 3).tolist()) == {0, 2, 4}


def test_spread_takes_the_most_volume_among_pairs() -> None:
    points = np.array([[0.0, 4.0], [1.0, 2.0], [2.0, 1.0], [4.0, 0.0]])
    volume = [hypervolume(points[[i]] / 4, reference=[1.1, 1.1]) for i in range(4)]
    assert volume[select_spread(points, 1)[0]] == max(volume)


def test_crowding_is_infinite_at_the_ends_and_the_cuboid_inside() -> None:
    # the neighbours of the middle one are the two ends, a whole span apart in both columns
    points = np.array([[0.0, 4.0], [1.0, 3.0], [4.0, 0.0]])
    assert crowding(points).tolist() == [np.inf, 1.0 + 1.0, np.inf]
    assert crowding(points[:1]).tolist() == [0.0]
    assert crowding(np.zeros((0, 2))).tolist() == []


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_number_that_is_not_finite_is_refused(bad: float) -> None:
    points = np.array([[1.0, 2.0], [bad, 0.0]])
    for function in (is_front, rank, lambda p: hypervolume(p, reference=[3, 3]), lambda p: select_spread(p, 1)):
        with pytest.raises(ValueError, match="row 1, column 0"):
            function(points)


def test_nothing_has_no_front() -> None:
    empty = np.zeros((0, 2))
    assert len(rank(empty)) == len(is_front(empty)) == len(select_spread(empty, 3)) == 0
    assert hypervolume(empty, reference=[1, 1]) == 0


def test_losses_turn_gains_round_and_miss_nothing() -> None:
    result = Result(4, Candidate("same", ()), Status.DONE, {"map50_95": 0.25, "macs_g": 2.0}, 0.0)
    assert losses([result], [MAP, MACS]).tolist() == [[-0.25, 2.0]]
    assert losses([], [MAP, MACS]).shape == (0, 2)
    bare = Result(5, Candidate("same", ()), Status.DONE, {"macs_g": 2.0}, 0.0)
    with pytest.raises(ValueError, match="number 5 lacks"):
        losses([result, bare], [MAP, MACS])
