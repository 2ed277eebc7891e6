import numpy as np
import pytest

from evaluators.accuracy.average_precision import Tally
from leaderboards.reports.across.standing import Contender, Place, stand


def tally_of(is_found: list[bool]) -> Tally:
    """Return what a detector found of one box in each image."""
    image = np.flatnonzero(is_found)
    every = np.ones((len(image), 10), bool)
    return Tally(image, np.zeros(len(image), int), every, np.ones((len(is_found), 1), int))


def contender(is_found: list[bool]) -> Contender:
    return Contender(sum(is_found) / len(is_found), tally_of(is_found))


def test_what_differs_in_one_image_of_many_is_tied_and_what_differs_in_half_is_not() -> None:
    n = 60
    whole, nearly, half = [True] * n, [True] * (n - 1) + [False], [True] * (n // 2) + [False] * (n // 2)
    places = stand([contender(half), contender(whole), contender(nearly)])
    assert [place.label for place in places] == ["3", "1=", "1="]  # behind two, behind none, behind none


def test_two_rows_alike_differ_by_nothing_whatever_the_spread_of_each() -> None:
    found = [index % 3 > 0 for index in range(30)]
    places = stand([contender(found), contender(found)])
    assert [place.label for place in places] == ["1=", "1="]
    assert places[0].interval is not None
    assert places[0].interval.high - places[0].interval.low > 0.1


def test_an_interval_is_that_of_the_share_that_is_found() -> None:
    """AP of one class whose found boxes are all right is about the share found: sd sqrt(.5 * .5 / 100) = .05."""
    (place,) = stand([contender([index % 2 == 0 for index in range(100)])])
    assert place.interval is not None
    assert place.interval.low == pytest.approx(0.5 - 1.96 * 0.05, abs=0.03)
    assert place.interval.high == pytest.approx(0.5 + 1.96 * 0.05, abs=0.03)


def test_a_row_of_an_earlier_version_is_placed_by_its_map_alone() -> None:
    found = [True] * 20
    places = stand([Contender(0.4, None), contender(found), Contender(0.4, None)])
    assert places == [Place(2, True, None), Place(1, False, places[1].interval), Place(2, True, None)]


def test_rows_of_different_splits_cannot_stand_together() -> None:
    with pytest.raises(ValueError, match="one split"):
        stand([contender([True] * 3), contender([True] * 4)])
