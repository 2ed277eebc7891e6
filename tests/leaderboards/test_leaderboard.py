import csv
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evaluators.result import Status
from evaluators.runtimes.precision import Precision
from leaderboards.columns import COLUMNS
from leaderboards.entry import PARENT, Entry, Quality
from leaderboards.leaderboard import Leaderboard
from spaces.candidate import Candidate
from spaces.errors import BadInput
from tests.leaderboards.synthetic import file_of, make_board, make_entry, make_quality, with_file, with_reference

FACE = (
    "id", "base", "strategy", "status", "on_front", "map50_95", "map50", "proxy", "gflops", "params_m", "size_mb",
    "latency_ms", "latency_p95_ms", "int8_map50_95", "int8_latency_ms", "int8_size_mb", "bits_mean", "imgsz", "seed",
)  # fmt: skip
SHARES = st.lists(st.tuples(st.floats(0.2, 1.0), st.floats(-0.02, 0.02)), max_size=8)


def board_of(shares: list[tuple[float, float]], limits: dict[str, float]) -> Leaderboard:
    """Return a board with a parent and one candidate for each (share of the MACs, noise of the mAP)."""
    parent = make_entry(PARENT, make_quality(share=1.0), candidate=Candidate("same", ()), proxy=None)
    rows = [
        make_entry(f"c{index}", make_quality(share=share, noise=noise), candidate=Candidate("same", ()), proxy=share)
        for index, (share, noise) in enumerate(shares)
    ]
    return Leaderboard([*rows, parent], limits)


def quality_of(entry: Entry) -> Quality:
    assert entry.quality is not None
    return entry.quality


def test_frame_has_the_fixed_columns_first_and_the_parent_on_top() -> None:
    frame = make_board().frame()
    assert tuple(frame.columns) == COLUMNS
    assert COLUMNS[: len(FACE)] == FACE
    assert frame["id"].iloc[0] == PARENT
    assert len(frame) == 7


def test_failed_rows_come_last_and_rows_outside_the_budget_before_them() -> None:
    board = make_board()
    assert board.rows[-1].status is Status.FAILED
    assert [board.choice(entry) is not None for entry in board.rows] == [True] * 4 + [False] * 2


def test_a_row_that_only_its_int8_file_brings_into_the_budget_is_ranked_by_that_file() -> None:
    # latency of share 0.6 is 8 + 26 * 0.6 = 23.6 ms as fp32 and 14.6 as INT8; of share 0.3 it is 15.8 and 9.8
    board = board_of([(0.6, 0.0), (0.3, 0.0)], {"latency_ms": 16.0})
    slow, fast = board.rows
    assert (slow.id, fast.id) == ("c0", "c1")
    assert board.frame()["meets_as"].tolist() == ["", "int8", "fp32"]
    # its INT8 mAP now falls under the fp32 mAP of the small one
    int8 = replace(file_of(quality_of(slow), Precision.INT8), map50_95=0.1)
    worse = replace(slow, quality=with_file(quality_of(slow), int8))
    assert Leaderboard([board.parent, worse, fast], board.limits).rows == (fast, worse)


@given(SHARES, st.floats(3.0, 40.0))
def test_the_ranking_does_not_depend_on_the_order_of_the_entries(
    shares: list[tuple[float, float]], limit: float
) -> None:
    board = board_of(shares, {"latency_ms": limit})
    assert board.rows == Leaderboard(board.entries[::-1], board.limits).rows


@given(SHARES)
def test_the_front_is_what_nothing_dominates(shares: list[tuple[float, float]]) -> None:
    board = board_of(shares, {"latency_ms": 20.0})
    points = {
        entry.id: (-quality_of(entry).map50_95, quality_of(entry).gflops, quality_of(entry).own.latency_ms)
        for entry in board.entries
    }
    undominated = {
        name
        for name, point in points.items()
        if not any(
            other != point and all(o <= p for o, p in zip(other, point, strict=True)) for other in points.values()
        )
    }
    assert board.front() == undominated


def test_losses_and_shares_are_taken_from_the_parent() -> None:
    frame = board_of([(0.5, 0.0)], {}).frame()
    assert frame["macs_kept"].tolist() == [1.0, 0.5]
    assert frame["map_loss"].tolist() == pytest.approx([0.0, 0.11 * 0.5**1.6])  # make_quality's own loss


def test_csv_reads_back_with_empty_cells_where_nothing_was_measured(tmp_path: Path) -> None:
    make_board().write_csv(tmp_path / "leaderboard.csv")
    rows = list(csv.DictReader((tmp_path / "leaderboard.csv").read_text().splitlines()))
    assert [rows[0]["id"], rows[0]["on_front"], rows[0]["map50_95"]] == [PARENT, "True", "0.474"]
    assert rows[-1]["map50_95"] == rows[-1]["latency_ms"] == ""
    assert [path.name for path in tmp_path.iterdir()] == ["leaderboard.csv"]


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1"])
def test_text_that_a_spreadsheet_would_run_is_quoted(tmp_path: Path, text: str) -> None:
    board = board_of([], {})
    evil = replace(make_entry(text, None, candidate=Candidate(text, ()), proxy=None), error=text, strategy=text)
    Leaderboard([board.parent, evil], {}).write_csv(tmp_path / "x.csv")
    with (tmp_path / "x.csv").open(newline="") as file:
        row = list(csv.DictReader(file))[1]
    assert row["id"] == row["base"] == row["strategy"] == f"'{text}"
    assert row["error"] == f"'{text}" or not text.strip().startswith(text[0])


def test_negative_numbers_are_left_alone_in_csv(tmp_path: Path) -> None:
    board_of([(0.9, 0.1)], {}).write_csv(tmp_path / "x.csv")
    row = list(csv.DictReader((tmp_path / "x.csv").read_text().splitlines()))[1]
    assert float(row["map_loss"]) < 0


def test_a_board_needs_one_parent_distinct_ids_and_known_limits() -> None:
    board = make_board()
    for entries in (board.rows, [*board.entries, board.parent], [*board.entries, board.rows[0]]):
        with pytest.raises(BadInput, match="one entry 'parent' and distinct ids"):
            Leaderboard(entries, {})
    with pytest.raises(BadInput, match="latnecy_ms"):
        Leaderboard(board.entries, {"latnecy_ms": 3.0})


def test_a_failed_parent_still_gives_a_table() -> None:
    board = make_board()
    parent = replace(board.parent, quality=None, status=Status.FAILED, error="OutOfMemoryError: x")
    frame = Leaderboard([parent, *board.rows], {}).frame()
    assert frame["map_loss"].isna().all()


def test_a_row_that_a_reference_dominates_says_so_and_no_other() -> None:
    board = with_reference(make_board(), share=0.43, noise=0.006)  # better, cheaper, faster than that of 0.44
    beaten = {row.id: row.quality.gflops for row in board.rows if row.quality and board.beaten_by(row)}
    assert list(beaten.values()) == [pytest.approx(2 * 3.21 * 0.44)]
    frame = board.frame()
    assert set(frame["beaten_by"]) == {"", "parent@192"}
    assert frame.set_index("id").loc[list(beaten), "beaten_by"].tolist() == ["parent@192"]
    assert [entry.id for entry in board.references] == ["parent@192"]
    assert make_board().references == ()
