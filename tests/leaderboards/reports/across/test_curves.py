import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from leaderboards.reports.across.curves import Band, Box, Curve, band_of, box_of, hypervolumes
from search.pareto import hypervolume

points = st.lists(st.tuples(st.floats(0, 1.3), st.floats(0, 1.3)), min_size=1, max_size=12).map(np.array)
UNIT = Box(np.zeros(2), np.ones(2))


@given(points)
def test_each_value_is_the_share_that_all_points_so_far_dominate_together(found: NDArray[np.float64]) -> None:
    values = hypervolumes(found, UNIT)
    expected = [hypervolume(found[: n + 1], reference=(1.1, 1.1)) / 1.21 for n in range(len(found))]
    assert values == pytest.approx(expected)
    assert (np.diff(values) >= -1e-12).all()


def test_the_box_reaches_from_the_best_to_the_worst_on_any_final_front() -> None:
    first = np.array([[1.0, 5.0], [2.0, 3.0], [4.0, 4.0]])  # the last is dominated by the second
    second = np.array([[3.0, 1.0], [0.5, 9.0]])
    box = box_of([first, second, np.zeros((0, 2))])
    assert box.low.tolist() == [0.5, 1.0]
    assert box.high.tolist() == [3.0, 9.0]


def test_an_objective_with_one_value_divides_by_nothing() -> None:
    only = np.array([[2.0, 7.0]])
    assert hypervolumes(only, box_of([only])) == pytest.approx([1.0])  # at the corner: all of the box


def test_a_curve_holds_its_value_until_the_next_jump() -> None:
    curve = Curve(np.array([1.0, 4.0, 4.0]), np.array([0.2, 0.3, 0.5]))
    assert [curve.at(x) for x in (0.9, 1.0, 3.9, 4.0, 99.0)] == [0.0, 0.2, 0.2, 0.5, 0.5]
    assert [curve.first(y) for y in (0.1, 0.3, 0.6)] == [1.0, 4.0, None]


def test_a_band_ends_with_the_curve_that_ends_first() -> None:
    long = Curve(np.array([0.0, 1.0, 5.0]), np.array([0.0, 0.4, 0.8]))
    short = Curve(np.array([0.0, 2.0, 3.0]), np.array([0.0, 0.6, 0.6]))
    band = band_of([long, short])
    assert band.x.tolist() == [0, 1, 2, 3]
    assert band.mean == pytest.approx([0, 0.2, 0.5, 0.5])
    assert band.low.tolist() == [0, 0, 0.4, 0.4]
    assert band.high.tolist() == [0, 0.4, 0.6, 0.6]
    assert isinstance(band, Band)
    assert band.curve.at(2.5) == pytest.approx(0.5)
