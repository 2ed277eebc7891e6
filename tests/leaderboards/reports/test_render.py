import io
from dataclasses import replace
from pathlib import Path

from rich.console import Console

from leaderboards.leaderboard import Leaderboard
from leaderboards.reports.render import WIDTH, markdown, write_markdown, write_terminal
from leaderboards.reports.table import tabulate
from spaces.candidate import Candidate
from tests.leaderboards.synthetic import HOSTILE, make_board, with_file


def lines_of(board: Leaderboard) -> list[str]:
    """Return what a log gets."""
    file = io.StringIO()
    write_terminal(board, Console(file=file))
    return file.getvalue().splitlines()


def test_terminal_table_fits_and_is_plain_where_there_is_no_terminal() -> None:
    lines = lines_of(make_board())
    assert max(map(len, lines)) <= WIDTH
    assert all(line.isprintable() for line in lines)


def test_a_stream_that_knows_only_ascii_gets_the_table_too() -> None:
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    write_terminal(make_board(), Console(file=stream))
    stream.flush()
    assert b"0.474" in stream.buffer.getvalue()


def test_no_number_is_cut_even_with_a_base_column_and_large_values() -> None:
    board = make_board()
    entry = board.rows[0]
    assert entry.quality is not None
    exact = replace(entry.quality.own, size_mb=1028.0, latency_ms=2345.6)
    large = with_file(replace(entry.quality, gflops=1234.5, params_m=257.0), exact)
    swapped = replace(entry, quality=large, candidate=Candidate("mobilenetv3_large_100", ()))
    lines = lines_of(Leaderboard([board.parent, swapped], {"latency_ms": 1.0}))
    assert max(map(len, lines)) <= WIDTH
    row = next(line for line in lines if entry.id in line)
    assert all(value in row for value in ("1234", "257", "1028", "2346"))  # 1234.5 is rounded to even


def test_the_parent_is_first_and_every_failure_has_its_line() -> None:
    lines = lines_of(make_board())
    body = [line for line in lines if "parent" in line or "failed" in line]
    assert "0.474" in body[1]  # body[0] is the heading "vs parent"
    assert any("failed: RuntimeError: export broke" in line for line in lines)


def test_marks_say_who_is_on_the_front_and_how_the_budget_is_met() -> None:
    board = make_board()
    rows = {row.id: row for row in tabulate(board, is_brief=True).rows}
    assert {name for name, row in rows.items() if row.is_on_front} == board.front()
    assert [rows[entry.id].meets for entry in board.rows] == ["as INT8", "yes", "yes", "yes", "no", ""]
    assert rows["parent"].meets == "no"


def test_control_characters_and_markup_in_names_do_nothing() -> None:
    board = make_board()
    evil = replace(board.rows[-1], id="\x1b[31m[red]x", error="a\x1b]0;title\x07[link=http://x]b")
    lines = lines_of(Leaderboard([board.parent, evil], {}))
    assert all(line.isprintable() for line in lines)
    assert any("[red]" in line for line in lines)


def test_markdown_has_one_line_a_row_with_as_many_cells_as_the_heading() -> None:
    board = make_board()
    evil = replace(board.rows[-1], id="a|b\nc")
    text = markdown(Leaderboard([board.parent, *board.rows[:-1], evil], board.limits))
    rows = [line for line in text.splitlines() if line.startswith("|")]
    assert len(rows) == 2 + 7
    assert len({line.replace("\\|", "").count("|") for line in rows}) == 1


def test_markdown_carries_no_html() -> None:
    assert HOSTILE not in markdown(make_board())
    assert "<script" not in markdown(make_board())


def test_markdown_file_is_written_whole(tmp_path: Path) -> None:
    write_markdown(make_board(), tmp_path / "leaderboard.md")
    assert (tmp_path / "leaderboard.md").read_text(encoding="utf-8") == markdown(make_board())
