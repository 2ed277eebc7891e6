"""The best file of a finished run."""

import json
from collections.abc import Sequence

from rich.console import Console

from leaderboards import select as choosing
from leaderboards.columns import called
from leaderboards.run_folder import MODELS, read_board, read_run
from leaderboards.run_path import run_folder


def select(words: Sequence[str], console: Console, is_json: bool, /) -> None:
    """Name the best file of a finished run under the given limits."""
    folder = run_folder(words[0])
    journal, _ = read_run(folder)
    board = read_board(journal, folder)
    choice = choosing.select(board, choosing.read_limits(words[1:], board.parent) or board.limits)
    path = folder / MODELS / choice.entry.id / choice.file.file
    facts = {"id": choice.entry.id, "precision": called(choice.file), "map50_95": choice.map50_95, "file": str(path)}
    if is_json:
        console.print_json(json.dumps({**facts, "readings": dict(choice.readings)}))
    else:
        console.print(", ".join(f"{name} {value}" for name, value in facts.items()), soft_wrap=True, highlight=False)
