"""What can be said of a command line in a second: unknown keys, bad values, files that are not there."""

from collections.abc import Sequence
from pathlib import Path

from evaluators.data.data_yaml import find_data_yaml, read_data_yaml
from evaluators.runtimes import by_name as runtimes
from leaderboards.benchmarks.by_name import keys_of, read_benchmark
from leaderboards.recipes.keys import EMBEDDED, LIMITS, NO_DATA, read_amount
from leaderboards.recipes.reading import read_pairs, read_recipe
from leaderboards.recipes.recipe import Recipe
from leaderboards.run_path import read_out, run_folder
from leaderboards.trackers import by_name as trackers
from search.journal import Journal
from spaces.detectors.backbones.weight_paths import read_weight_paths
from spaces.detectors.weights_file import check_weights_file
from spaces.errors import BadInput


def check_recipe_words(words: Sequence[str], /) -> None:
    """Make sure that `words` are a recipe and that the files that it names are there.

    Raises:
        BadInput: they are not.
    """
    _check_recipe(read_recipe(words))


def check_profile(words: Sequence[str], /) -> None:
    """Make sure that `words` are a recipe, perhaps without data, and that the files that it names are there.

    Raises:
        BadInput: they are not.
    """
    _check_recipe(read_recipe(words, needs_data=False))


def check_select(words: Sequence[str], /) -> None:
    """Make sure that `words` name a run, and limits.

    Raises:
        BadInput: they do not.
    """
    check_run(words)
    for key, value in read_pairs(words[1:], allowed=LIMITS).items():
        try:
            read_amount(value)
        except ValueError as error:
            raise BadInput(f"{key}: {error}, got {value!r:.60}") from error


def check_report(words: Sequence[str], /) -> None:
    """Make sure that `words` name one run, or several and perhaps where to put what they have together.

    Raises:
        BadInput: they do not.
    """
    names = [word for word in words if "=" not in word]
    pairs = read_pairs([word for word in words if "=" in word], allowed=("out",) if len(names) > 1 else ())
    for name in names or [""]:
        check_run([name])
    if "out" in pairs:
        read_out(pairs["out"])


def check_export(words: Sequence[str], /) -> None:
    """Make sure that `words` name a run, and perhaps a row and a format.

    Raises:
        BadInput: they do not.
    """
    check_run(words)
    read_pairs(words[1:], allowed=("id", "format"))


def check_bench(words: Sequence[str], /) -> None:
    """Make sure that `words` name a benchmark and keys that it has.

    Raises:
        BadInput: they do not.
    """
    read_pairs(words[1:], allowed=[key.name for key in keys_of(read_benchmark(words))])


def check_run(words: Sequence[str], /) -> Path:
    """Return the folder of the run that the first of `words` names.

    Raises:
        BadInput: none is named, or there is no run.
    """
    if not words or "=" in words[0] or not words[0]:
        raise BadInput("name the run, as in: python run_search.py report runs/digits")
    folder = run_folder(words[0])
    Journal.read(folder / "journal.jsonl")
    return folder


def _check_recipe(recipe: Recipe) -> None:
    for name in recipe.runtimes:
        runtimes.check_installed(name)
    for name in recipe.track:
        trackers.check_installed(name)
    if recipe.weights != EMBEDDED:
        check_weights_file(Path(recipe.weights))
    if recipe.data not in (EMBEDDED, NO_DATA) and (data_yaml := find_data_yaml(Path(recipe.data))) is not None:
        read_data_yaml(data_yaml)
    if recipe.device_file is not None and not Path(recipe.device_file).is_file():
        raise BadInput(f"device_file: {recipe.device_file!r} not found; make one with bench latency")
    if recipe.backbone_weights is not None:
        read_weight_paths(recipe.backbone_weights)
