"""Tables and report again, of one run or of several together."""

from collections.abc import Sequence

from rich.console import Console

from leaderboards.recipes.reading import read_pairs
from leaderboards.reports.across.across_report import compare
from leaderboards.reports.publish import publish
from leaderboards.reports.render import write_terminal
from leaderboards.run_path import run_folder


def report(words: Sequence[str], console: Console, _: bool, /) -> None:
    """Make the tables and the report of a run again, or those of several runs together."""
    names = [word for word in words if "=" not in word]
    pairs = read_pairs([word for word in words if "=" in word], allowed=("out",))
    if len(names) > 1:
        folder = compare([run_folder(name) for name in names], pairs.get("out"), console)
    else:
        folder = run_folder(names[0])
        write_terminal(publish(folder), console)
    console.print(f"report: {folder / 'report.html'}", soft_wrap=True)
