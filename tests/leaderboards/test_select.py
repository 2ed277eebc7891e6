from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evaluators.result import Status
from evaluators.runtimes.precision import Precision
from leaderboards.entry import PARENT
from leaderboards.leaderboard import Leaderboard
from leaderboards.select import select
from spaces.errors import BadInput, NothingFeasible
from tests.leaderboards.synthetic import file_of, make_board
from tests.leaderboards.test_leaderboard import SHARES, board_of


def test_without_limits_the_parent_is_a_choice_like_any_other() -> None:
    assert select(make_board(), {}).entry.id == PARENT


def test_the_parent_is_not_chosen_over_a_limit_it_breaks() -> None:
    board = make_board()
    choice = select(board, {"macs_g": 2.1})
    assert choice.entry == board.rows[0]
    assert (choice.file.precision, choice.file.file) == (Precision.FP32, "model.onnx")
    assert choice.entry.quality is not None
    assert choice.map50_95 == choice.entry.quality.map50_95


def test_a_row_counts_by_its_int8_file_where_only_that_one_meets_the_limits() -> None:
    choice = select(board_of([(0.6, 0.0)], {}), {"latency_ms": 16.0})
    assert choice.entry.quality is not None
    assert (choice.file.precision, choice.file.file) == (Precision.INT8, "model_int8.onnx")
    assert choice.map50_95 == file_of(choice.entry.quality, Precision.INT8).map50_95
    assert choice.readings["latency_ms"] == file_of(choice.entry.quality, Precision.INT8).latency_ms


def test_macs_and_gflops_are_the_same_limit() -> None:
    board = make_board()
    assert select(board, {"macs_g": 1.5}).entry == select(board, {"gflops": 3.0}).entry


@given(SHARES, st.floats(8.0, 40.0), st.floats(0.5, 12.0))
def test_the_choice_is_within_the_limits_and_the_first_row_or_the_parent(
    shares: list[tuple[float, float]], latency: float, size: float
) -> None:
    limits = {"latency_ms": latency, "size_mb": size}
    board = board_of(shares, limits)
    feasible = [entry for entry in board.entries if board.choice(entry)]
    if not feasible:
        with pytest.raises(NothingFeasible):
            select(board, limits)
        return
    choice = select(board, limits)
    assert all(choice.readings[name] <= limit for name, limit in limits.items())
    assert choice.entry in (board.parent, *board.rows[:1])


def test_a_miss_names_the_nearest_row_and_by_how_much_each_limit_is_missed() -> None:
    # one row, share 0.5: INT8 latency (8 + 13) * 0.62 = 13.02 ms, INT8 size 2.9 * 0.5 ** 1.1 = 1.353 MB
    with pytest.raises(NothingFeasible) as caught:
        select(board_of([(0.5, 0.0)], {}), {"latency_ms": 10.0, "size_mb": 2.0})
    text = str(caught.value)
    assert "no row meets latency_ms <= 10 and size_mb <= 2" in text
    assert "the nearest is c0 (int8): latency_ms 13.0, 30 % over; size_mb 1.35, met" in text


def test_a_tiny_miss_is_not_called_zero_percent() -> None:
    with pytest.raises(NothingFeasible, match=r"0\.1 % over"):
        select(board_of([], {}), {"gflops": 6.42 / 1.001})


def test_limits_that_are_met_one_by_one_but_not_together_are_told_apart() -> None:
    board = board_of([(0.3, 0.0)], {})
    small = board.rows[0]
    assert small.quality is not None
    exact, int8 = (file_of(small.quality, precision) for precision in Precision)
    files = (replace(exact, size_mb=50.0), replace(int8, size_mb=40.0))
    heavy = replace(small, quality=replace(small.quality, files=files))
    with pytest.raises(NothingFeasible) as caught:
        select(Leaderboard([board.parent, heavy], {}), {"gflops": 2.0, "size_mb": 11.0})
    assert "each limit alone: gflops 1.93, met (c0, fp32); size_mb 2.90, met (parent, int8)" in str(caught.value)


def test_without_a_measured_row_the_first_error_is_told() -> None:
    board = board_of([], {})
    failed = replace(board.parent, quality=None, status=Status.FAILED, error="OSError: disk full")
    with pytest.raises(NothingFeasible, match=r"not one was measured.*disk full"):
        select(Leaderboard([failed], {}), {"gflops": 1.0})


def test_an_unknown_limit_is_refused() -> None:
    with pytest.raises(BadInput, match="speed"):
        select(make_board(), {"speed": 1.0})
