"""What the space of a recipe holds."""

import json
from collections.abc import Sequence

from rich.console import Console

from leaderboards.recipes.reading import read_recipe
from leaderboards.runs import profile as facts
from leaderboards.runs.prepare import prepare


def profile(words: Sequence[str], console: Console, is_json: bool, /) -> None:
    """Say what can be cut and which budgets are in reach."""
    problem = prepare(read_recipe(words, needs_data=False).parts())
    console.print_json(json.dumps(facts.profile(problem))) if is_json else facts.write_terminal(problem, console)
