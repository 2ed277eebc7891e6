"""The leaderboard for the terminal and as Markdown."""

from collections.abc import Sequence
from pathlib import Path

from rich import box
from rich.console import Console, Group
from rich.table import Table as RichTable
from rich.text import Text

from leaderboards.leaderboard import Leaderboard
from leaderboards.reports.detection_table import (
    DETECTION_LEGEND,
    HEADINGS,
    LAYERS_LEGEND,
    detection_rows,
    layer_sentences,
)
from leaderboards.reports.findings import judge_sentences, reference_sentences
from leaderboards.reports.table import Row, Table, tabulate
from leaderboards.wording import one_line
from spaces.files import write_atomic

WIDTH = 100
WIDEST = 1000  # of a table with files of many runtimes


def terminal(board: Leaderboard) -> Group:
    """Return the table, its legend and the failures, at most 100 columns wide."""
    table = tabulate(board, is_brief=True)
    failures = [Text(f"{row.id} failed: {one_line(row.error, width=WIDTH)}", "red") for row in table.rows if row.error]
    return Group(_rich_table(table), Text(legend(board), "dim"), *failures)


def write_terminal(board: Leaderboard, console: Console) -> None:
    """Write `terminal` to where `console` writes, never narrower than the table: a cut number is a wrong number."""
    table = _rich_table(tabulate(board, is_brief=True))
    natural = console.measure(table, options=console.options.update(width=WIDEST)).maximum
    width = max(console.width, natural, WIDTH)
    wide = Console(file=console.file, width=width, force_terminal=console.is_terminal, no_color=console.no_color)
    wide.print(terminal(board), highlight=False)


def markdown(board: Leaderboard) -> str:
    """Return the table, its legend and the failures as Markdown."""
    table = tabulate(board, is_brief=False)
    titles = ["#", "id", "base", *(f"{title} ({unit})" if unit else title for title, unit in table.headings)]
    lines = [
        "# Leaderboard", "",
        markdown_line([*titles, "front", "in budget"]),
        markdown_line(["--:", "---", "---", *["--:"] * len(table.headings), ":-:", "---"]),
        *(markdown_line(_markdown_cells(row)) for row in table.rows),
        "", legend(board),
        *_detection_lines(board),
        *(f"\n**{escaped(row.id)}** failed: {escaped(row.error)}" for row in table.rows if row.error),
    ]  # fmt: skip
    return "\n".join(lines) + "\n"


def _detection_lines(board: Leaderboard) -> list[str]:
    """Return the table of what mAP does not tell; nothing where it was not measured."""
    rows, layers = detection_rows(board), layer_sentences(board)
    lines = ["", "## Beyond mAP", "", DETECTION_LEGEND] if rows else []
    if rows:
        lines += ["", markdown_line(["id", "file", *HEADINGS, "classes that lose most"])]
        lines += [markdown_line(["---", "---", *["--:"] * len(HEADINGS), "---"])]
        lines += [markdown_line([row.id, row.file, *row.cells, row.classes]) for row in rows]
    return lines + ([f"\n{LAYERS_LEGEND} {escaped('; '.join(layers))}."] if layers else [])


def write_markdown(board: Leaderboard, path: Path) -> None:
    """Write `markdown` to `path` in one step."""
    write_atomic(path, markdown(board))


def legend(board: Leaderboard) -> str:
    """Return what the marks mean, which limits hold, and what the rows are that no search has found."""
    limits = " and ".join(f"{name} <= {limit:g}" for name, limit in board.limits.items())
    marks = f"* on the Pareto front. {f'Budget: {limits}.' if limits else 'No budget was set.'}"
    return " ".join([marks, *judge_sentences(board), *reference_sentences(board)])


def _rich_table(table: Table) -> RichTable:
    is_plain = all(row.base == table.rows[0].base for row in table.rows)
    rich_table = RichTable(box=box.SIMPLE_HEAD, padding=0, pad_edge=False, show_edge=False)
    rich_table.add_column("#", justify="right", no_wrap=True)
    rich_table.add_column("id", no_wrap=True, overflow="crop", max_width=11)
    if not is_plain:
        rich_table.add_column("base", no_wrap=True, overflow="crop", max_width=12)
    for title, unit in table.headings:
        rich_table.add_column(Text(_stacked(title, unit)), justify="right", no_wrap=True)
    rich_table.add_column("front", justify="center", no_wrap=True)
    rich_table.add_column(Text("in\nbudget"), no_wrap=True)
    for row in table.rows:
        names = [row.id] if is_plain else [row.id, row.base]
        cells = [row.rank, *names, *row.cells, "*" if row.is_on_front else "", row.meets]
        rich_table.add_row(*map(Text, cells), style=_style(row), end_section=row is table.rows[0])
    return rich_table


def _stacked(title: str, unit: str) -> str:
    """Return a heading of two lines."""
    return f"{title}\n{unit}" if unit and " " not in title else "\n".join([*title.split(), unit]).strip()


def _style(row: Row) -> str:
    if row.error or row.meets == "no":
        return "dim"
    return "bold" if row.rank == "1" else ""


def _markdown_cells(row: Row) -> list[str]:
    return [row.rank, row.id, row.base, *row.cells, "*" if row.is_on_front else "", row.meets]


def markdown_line(cells: Sequence[str]) -> str:
    """Return a line of a table in Markdown; one with a cell of dashes is the rule under the heading."""
    return f"| {' | '.join(map(escaped, cells))} |" if "---" not in cells else f"|{'|'.join(cells)}|"


def escaped(text: str) -> str:
    r"""Return `text` with what Markdown or HTML would act on made literal."""
    for letter in "\\`|[]_":
        text = text.replace(letter, f"\\{letter}")
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
