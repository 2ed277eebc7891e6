"""A row of a run in another format."""

from collections.abc import Sequence

from rich.console import Console

from leaderboards.files.export_row import export_row
from leaderboards.recipes.reading import read_pairs
from leaderboards.run_path import run_folder


def export(words: Sequence[str], console: Console, _: bool, /) -> None:
    """Write a row of a run in another format."""
    pairs = read_pairs(words[1:], allowed=("id", "format"))
    console.print(str(export_row(run_folder(words[0]), pairs.get("id"), pairs.get("format", "onnx"))), soft_wrap=True)
