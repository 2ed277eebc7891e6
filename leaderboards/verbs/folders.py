"""Which run folder the words of a verb name, once they are checked."""

from collections.abc import Sequence
from pathlib import Path

from leaderboards.recipes.reading import read_recipe
from leaderboards.run_path import run_folder


def of_recipe(words: Sequence[str], /) -> Path:
    """Return the folder that a run of the recipe `words` writes to."""
    return run_folder(read_recipe(words).out)


def of_run(words: Sequence[str], /) -> Path | None:
    """Return the folder of the run that the first of `words` names."""
    return run_folder(words[0]) if words else None


def none(_: Sequence[str], /) -> None:
    """Return nothing: the verb has no run."""
