from hypothesis import given
from hypothesis import strategies as st

from leaderboards.wording import decimals, number, one_line, percent


def test_a_number_shows_three_significant_digits() -> None:
    assert [number(value) for value in (0.1234, 3.456, 12.34, 123.4, 1234.5)] == [
        "0.123",
        "3.46",
        "12.3",
        "123",
        "1234",
    ]


def test_a_column_has_the_decimals_of_its_largest_value() -> None:
    assert decimals([0.5, 34.0, 2.0]) == 1
    assert decimals([]) == 2


def test_a_share_is_whole_percent() -> None:
    assert percent(0.624) == "62 %"


@given(st.text(), st.integers(1, 50))
def test_one_line_is_printable_short_and_stays_as_it_is(text: str, width: int) -> None:
    line = one_line(text, width=width)
    assert len(line) <= width
    assert all(letter.isprintable() for letter in line)
    assert one_line(line, width=width) == line
