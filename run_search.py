"""From a trained YOLO and a budget to a leaderboard of smaller ones: `python run_search.py key=value ...`.

    python run_search.py [search] key=value ...      end to end; without arguments the embedded digits default
    python run_search.py profile key=value ...       what can be cut and which budgets are in reach; no search
    python run_search.py select RUN key=value ...    the best row of a finished run under other budgets
    python run_search.py report RUN                  tables and report.html again from the journal
    python run_search.py report RUN RUN ... out=NAME one leaderboard over several runs, ties shown as ties
    python run_search.py export RUN id=ID format=F   a row in any format that Ultralytics writes
    python run_search.py bench NAME key=value ...    a benchmark; `bench` alone lists them

Exit codes: 0 done, 2 bad input, 3 budget out of reach, 4 nothing feasible, 75 interrupted (run it again to resume).
"""

import json
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

os.environ |= {
    "ULTRALYTICS_SAFE_LOAD": "1",
    "YOLO_AUTOINSTALL": "false",
    "YOLO_VERBOSE": "false",
    "YOLO_OFFLINE": "true",
}

from rich.console import Console

from leaderboards import benchmarks
from leaderboards.files.export_row import export_row
from leaderboards.recipes.reading import read_pairs, read_recipe
from leaderboards.recipes.recipe import Recipe
from leaderboards.recipes.strategy_keys import METHODS
from leaderboards.reports.across.across_report import compare
from leaderboards.reports.publish import publish
from leaderboards.reports.render import write_terminal
from leaderboards.run_folder import read_board, read_run, run_folder
from leaderboards.runs import profile
from leaderboards.runs.inputs import load_inputs
from leaderboards.runs.prepare import analyse, prepare
from leaderboards.runs.progress import Progress
from leaderboards.runs.run import check_folder, known_results, run
from leaderboards.select import read_limits, select
from search.loop import interruptible
from spaces.errors import BadInput, NothingFeasible, UserError

Command = Callable[[Sequence[str], Console, bool], None]


def search(words: Sequence[str], console: Console, _: bool) -> None:
    """Run a recipe end to end."""
    recipe = read_recipe(words)
    console.print(f"analysing {recipe.weights} at {recipe.imgsz} px")
    inputs = load_inputs(recipe)
    check_folder(recipe, inputs)
    problem = analyse(recipe, inputs)
    n_candidates = None if recipe.strategy in METHODS else recipe.candidates
    known = known_results(recipe.folder)
    progress = Progress(console, n_candidates=n_candidates, proxy_name=recipe.proxy, known=known)
    with progress:
        board = run(recipe, problem, progress)
    write_terminal(board, console)
    console.print(f"report: {recipe.folder / 'report.html'}", soft_wrap=True)
    if not any(board.choice(row) for row in board.rows):
        select(board, board.limits)  # says what came nearest
        raise NothingFeasible("no fine-tuned row is within the budget")


def show_profile(words: Sequence[str], console: Console, is_json: bool) -> None:
    """Say what the space of a recipe holds."""
    problem = prepare(read_recipe(words))
    console.print_json(json.dumps(profile.profile(problem))) if is_json else profile.write_terminal(problem, console)


def show_selection(words: Sequence[str], console: Console, is_json: bool) -> None:
    """Name the best file of a finished run under the given limits."""
    folder = _run(words)
    journal, _ = read_run(folder)
    board = read_board(journal, folder)
    choice = select(board, read_limits(words[1:], board.parent) or board.limits)
    path = folder / "models" / choice.entry.id / choice.file
    facts = {"id": choice.entry.id, "precision": choice.precision.value, "map50_95": choice.map50_95, "file": str(path)}
    if is_json:
        console.print_json(json.dumps({**facts, "readings": dict(choice.readings)}))
    else:
        console.print(", ".join(f"{name} {value}" for name, value in facts.items()), soft_wrap=True, highlight=False)


def report(words: Sequence[str], console: Console, _: bool) -> None:
    """Make the tables and the report of a run again, or those of several runs together."""
    folder = _run(words)
    names = [word for word in words if "=" not in word]
    pairs = read_pairs([word for word in words if "=" in word], allowed=("out",) if len(names) > 1 else ())
    if len(names) > 1:
        folder = compare([run_folder(name) for name in names], pairs.get("out"), console)
    else:
        write_terminal(publish(folder), console)
    console.print(f"report: {folder / 'report.html'}", soft_wrap=True)


def export(words: Sequence[str], console: Console, _: bool) -> None:
    """Write a row of a run in another format."""
    folder = _run(words)
    pairs = read_pairs(words[1:], allowed=("id", "format"))
    console.print(str(export_row(folder, pairs.get("id"), pairs.get("format", "onnx"))), soft_wrap=True)


def bench(words: Sequence[str], console: Console, is_json: bool) -> None:
    """Run a benchmark and print its record."""
    record = benchmarks.run(words)
    console.print_json(json.dumps(record.to_json())) if is_json else benchmarks.write_terminal(record, console)


COMMANDS: Mapping[str, Command] = {
    "search": search,
    "profile": show_profile,
    "select": show_selection,
    "report": report,
    "export": export,
    "bench": bench,
}


def main(arguments: Sequence[str]) -> int:
    """Run the command line and return its exit code."""
    if {"-h", "--help", "help"} & set(arguments):
        sys.stdout.write(f"{__doc__}\nKeys: {', '.join(Recipe.model_fields)}, config.\n")
        return 0
    words = [word for word in arguments if word not in ("--json", "--debug")]
    name = words.pop(0) if words and words[0] in COMMANDS else "search"
    try:
        with interruptible():  # the analysis too, before a run has anything to keep
            COMMANDS[name](words, Console(highlight=False), "--json" in arguments)
    except UserError as error:
        if "--debug" in arguments:
            raise
        sys.stderr.write(f"{' '.join(str(error).split())}\n")
        return error.exit_code
    return 0


def _run(words: Sequence[str]) -> Path:
    if not words or "=" in words[0]:
        raise BadInput("name the run, as in: python run_search.py report runs/digits")
    return run_folder(words[0])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
