"""A benchmark run by name, and its record for a reader."""

from collections.abc import Callable, Sequence
from pkgutil import resolve_name

from rich.console import Console
from rich.table import Table
from rich.text import Text

from leaderboards.benchmarks.by_name import BENCHMARKS, keys_of, read_benchmark
from leaderboards.benchmarks.record import Cell, Record
from leaderboards.recipes.reading import read_pairs

WIDEST = 10_000  # columns of text; no table has more


def run(words: Sequence[str], /) -> Record:
    """Return the record of the benchmark that `words` name, its keyword arguments after it as `key=value`.

    Raises:
        BadInput: none or an unknown one is named, or a key that it does not have.
    """
    name = read_benchmark(words)
    pairs = read_pairs(words[1:], allowed=[key.name for key in keys_of(name)])
    measure: Callable[..., Record] = resolve_name(BENCHMARKS[name])
    return measure(**pairs)


def write_terminal(record: Record, console: Console, /) -> None:
    """Print `record` for a reader; a table that is wider than the console has a line of words for each row."""
    columns = list(dict.fromkeys(name for row in record.rows for name in row))
    texts = [{name: _text(row.get(name, "")) for name in columns} for row in record.rows]
    table = Table(*columns, title=record.name)
    for row in texts:
        table.add_row(*map(Text, row.values()))  # as it is: rich would read what stands in brackets as markup
    if console.measure(table, options=console.options.update(width=WIDEST)).maximum <= console.width:
        console.print(table)
    else:
        for row in texts:
            words = "  ".join(f"{name} {text}" for name, text in row.items() if text)
            console.print(words, highlight=False, markup=False, soft_wrap=True)
    console.print(
        f"{record.metric}: {record.value:.4g}; target {record.target}: {'holds' if record.holds else 'MISSED'}"
    )


def _text(value: Cell) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
