"""A recipe, end to end."""

from collections.abc import Sequence
from functools import partial

from rich.console import Console

from evaluators.result import Status
from leaderboards.recipes.reading import read_recipe
from leaderboards.reports.render import write_terminal
from leaderboards.runs.inputs import load_inputs
from leaderboards.runs.prepare import analyse
from leaderboards.runs.progress import Progress
from leaderboards.runs.run import check_folder, known_results, run
from leaderboards.select import select
from leaderboards.trackers.tracker import RunFacts, follow
from search.methods.by_name import METHODS
from spaces.errors import NothingFeasible


def search(words: Sequence[str], console: Console, _: bool, /) -> None:
    """Run a recipe end to end.

    Raises:
        NothingFeasible: no row is within the budget; everything is written all the same.
    """
    parts = read_recipe(words).parts()
    folder, ranking = parts.place.folder, parts.ranking
    console.print(f"analysing {parts.sources.weights} at {parts.bases.imgsz} px")
    inputs = load_inputs(parts)
    check_folder(parts, inputs)
    problem = analyse(parts, inputs)
    n_candidates = None if ranking.strategy in METHODS else ranking.candidates
    known = known_results(folder)
    progress = Progress(console, n_candidates=n_candidates, proxy_name=ranking.proxy, known=known)
    n_failed = sum(result.status is Status.FAILED for result in known)
    facts = RunFacts(folder.name, folder, parts.settings, n_failed)
    trackers = follow(parts.track, facts, say=partial(console.print, markup=False, highlight=False, soft_wrap=True))
    with progress:
        board = run(parts, problem, [progress, *trackers])
    write_terminal(board, console)
    console.print(f"report: {folder / 'report.html'}", soft_wrap=True)
    if not any(board.choice(row) for row in board.rows):
        select(board, board.limits)  # says what came nearest
        raise NothingFeasible("no fine-tuned row is within the budget")
