"""The leaderboard as a table of text, once for the terminal, Markdown and HTML."""

from collections.abc import Sequence
from typing import NamedTuple

from leaderboards.columns import numbers, others, prefix_of, title_of
from leaderboards.entry import Entry
from leaderboards.leaderboard import Leaderboard
from leaderboards.wording import MISSING, decimals, one_line, percent


class Column(NamedTuple):
    """One column of numbers.

    Attributes:
        unit: printed under or behind the title, empty for a pure number.
        value: the column of leaderboard.csv that it shows.
        is_brief: whether it is also shown where space is short.
        n_decimals: None for three significant digits of the column's largest value.
    """

    title: str
    unit: str
    value: str
    is_brief: bool = True
    n_decimals: int | None = None


COLUMNS = (
    Column("mAP", "50-95", "map50_95", n_decimals=3),
    Column("mAP", "50", "map50", is_brief=False, n_decimals=3),
    Column("GFLOPs", "", "gflops"),
    Column("params", "M", "params_m"),
    Column("size", "MB", "size_mb"),
    Column("latency", "ms", "latency_ms"),
    Column("p95", "ms", "latency_p95_ms", is_brief=False),
    Column("INT8 mAP", "50-95", "int8_map50_95", n_decimals=3),
    Column("INT8 size", "MB", "int8_size_mb", is_brief=False),
    Column("INT8 latency", "ms", "int8_latency_ms"),
)


class Heading(NamedTuple):
    """What stands above a column of numbers."""

    title: str
    unit: str


class Row(NamedTuple):
    """One entry as text.

    Attributes:
        rank: "1" for the best, empty for the parent, a dash for a failed one.
        cells: one for each heading, right-aligned; dashes if the entry failed.
        meets: "yes", "as INT8" or another file, or "no"; empty without limits.
        error: one line; empty unless the entry failed.
    """

    rank: str
    id: str
    base: str
    cells: tuple[str, ...]
    is_on_front: bool
    meets: str
    error: str


class Table(NamedTuple):
    """The parent's row first, then the ranked ones, failed ones last."""

    headings: tuple[Heading, ...]
    rows: tuple[Row, ...]


def tabulate(board: Leaderboard, *, is_brief: bool) -> Table:
    """Return the table of `board`; a brief one leaves out mAP50, p95 and the INT8 size."""
    entries = (board.parent, *board.rows)
    columns = [column for column in _columns(board) if column.is_brief or not is_brief]
    headings = [_heading(column, board) for column in columns]
    headings[1:1] = [Heading("vs parent", ""), Heading("MACs kept", "")]
    texts = [_column_cells(column, entries) for column in columns]
    texts[1:1] = [_losses(board, entries), _kept(board, entries)]
    ranks, front = ranks_of(board), board.front()
    rows = [
        Row(
            ranks[entry.id], one_line(entry.id, width=64), one_line(entry.candidate.base, width=40), cells,
            entry.id in front, _meets(board, entry), "" if entry.quality else one_line(entry.error),
        )
        for entry, cells in zip(entries, zip(*texts, strict=True), strict=True)
    ]  # fmt: skip
    return Table(tuple(headings), tuple(rows))


def _heading(column: Column, board: Leaderboard) -> Heading:
    title = column.title if board.is_labelled else column.title.replace("mAP", board.measure)
    return Heading(title, column.unit)


def _columns(board: Leaderboard) -> list[Column]:
    """Return the columns of the default runtime, then mAP and latency of every other runtime and precision."""
    files = [file for entry in board.entries if entry.quality for file in others(entry.quality.files)]
    more = []
    for prefix, file in {prefix_of(file): file for file in files}.items():
        title = title_of(file)
        more += [Column(f"{title} mAP", "50-95", f"{prefix}map50_95", n_decimals=3)]
        more += [Column(f"{title} latency", "ms", f"{prefix}latency_ms")]
    return [*COLUMNS, *more]


def ranks_of(board: Leaderboard) -> dict[str, str]:
    """Return the rank of each entry by its id, as it is printed in the table and in the charts."""
    ranks = {entry.id: str(place) if entry.quality else MISSING for place, entry in enumerate(board.rows, start=1)}
    return {board.parent.id: "", **ranks}


def _column_cells(column: Column, entries: Sequence[Entry]) -> list[str]:
    found = [numbers(entry.quality).get(column.value) if entry.quality else None for entry in entries]
    values = [value for value in found if value is not None]
    n_decimals = decimals(values) if column.n_decimals is None else column.n_decimals
    return [MISSING if value is None else f"{value:.{n_decimals}f}" for value in found]


def _losses(board: Leaderboard, entries: Sequence[Entry]) -> list[str]:
    parent = board.parent.quality
    return [
        f"{entry.quality.map50_95 - parent.map50_95:+.3f}" if parent and entry.quality and entry is not board.parent
        else "" if entry is board.parent else MISSING
        for entry in entries
    ]  # fmt: skip


def _kept(board: Leaderboard, entries: Sequence[Entry]) -> list[str]:
    parent = board.parent.quality
    return [percent(entry.quality.gflops / parent.gflops) if parent and entry.quality else MISSING for entry in entries]


def _meets(board: Leaderboard, entry: Entry) -> str:
    choice = board.choice(entry)
    if not board.limits or entry.quality is None:
        return ""
    if choice is None:
        return "no"
    if choice.file is entry.quality.own and not entry.quality.has_bits:
        return "yes"
    return f"as {title_of(choice.file)}"
