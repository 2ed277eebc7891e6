"""Which strategy is best? Each as a real run, with the same evaluations, images and fine-tuning.

A method that was published with another recovery or importance keeps its own. Seconds are those of the search; the
study of the parent, which all of them use, is left out. Strategies that train read the images that rank as well, so
their hypervolume flatters them; their rows on val do not.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from leaderboards.benchmarks.arguments import command, parts_of, read_count, read_shares
from leaderboards.benchmarks.record import Record
from leaderboards.benchmarks.whole_runs.comparison import CONTROLS, DEFAULT, FinishedRun, holds, rows_of, worst_share
from leaderboards.benchmarks.whole_runs.planned_runs import PlannedRun, make_runs
from leaderboards.environment import environment
from leaderboards.recipes.keys import EMBEDDED
from leaderboards.recipes.strategy_keys import NAMES as STRATEGIES
from leaderboards.reports.across.across_report import publish_across
from leaderboards.reports.across.board import read_across
from leaderboards.run_path import run_folder
from spaces.errors import BadInput

MANY = ("candidates=", "front=")  # keys that a control has no use for: it makes one row
ALL = "all"
TARGET = 0.5


def methods(
    *,
    data: str = EMBEDDED,
    strategies: str = ALL,
    budgets: str = "60,40",
    seeds: str = "3",
    candidates: str = "72",
    front: str = "4",
    epochs: str = "1",
    proxy: str = "",
    workers: str = "1",
    out: str = "",
) -> Record:
    """Return how many evaluations the default needs, of those of the best other strategy, to find as much.

    Args:
        data: digits, or bccd or coco128 where REAL_DATA leads to them.
        strategies: names with commas between them, the default among them.
        budgets: percentages of the parent's MACs.
        candidates: of each search.
        front: rows of each search that are fine-tuned.
        epochs: of the fine-tuning of each row.
        proxy: what ranks; the recipe's default unless given.
        out: a folder for the runs, and for one leaderboard of them all.
    """
    shares, n_seeds = read_shares("budgets", budgets), read_count("seeds", seeds, least=1)
    ranking = [f"proxy={proxy}"] if proxy else []
    words = [f"candidates={candidates}", f"front={front}", f"finetune_epochs={epochs}", f"workers={workers}", *ranking]
    plans = list(_plans(data, read_names(strategies), shares, range(n_seeds), _Shared(words, out)))
    runs = make_runs(plans)
    _publish(plans, runs)
    given = [f"strategies={strategies}", f"budgets={budgets}", f"seeds={seeds}", *words[:2], f"epochs={epochs}"]
    return Record(
        f"methods_{data}",
        "evaluations after which the default's hypervolume, mean of the seeds, is the best other strategy's final one, "
        "as a share of that one's evaluations, at the worst budget (2 if never)",
        worst_share(runs),
        f"at most {TARGET}, and at 60 % of the MACs at most half of the mAP lost that random loses",
        worst_share(runs) <= TARGET and holds(runs),
        rows_of(runs),
        environment(),
        command("methods", data, " ".join([*given, *ranking])),
    )


def _publish(plans: Sequence[PlannedRun], runs: Sequence[FinishedRun]) -> None:
    """Write the leaderboard of all runs that something came of to the folder that they lie in."""
    finished = [plan.parts.place.folder for plan, run in zip(plans, runs, strict=True) if run.run]
    if len(finished) > 1:
        publish_across(read_across(finished), finished[0].parent)


def read_names(text: str, /) -> list[str]:
    """Return the strategies that `text` names.

    Raises:
        BadInput: an unknown one, one that is named twice, or the default or all others are missing.
    """
    names = list(STRATEGIES) if text == ALL else text.split(",")
    if odd := next((name for name in names if name not in STRATEGIES), None):
        raise BadInput(f"strategies must be some of {', '.join(STRATEGIES)}, got {odd!r:.60}")
    if len(set(names)) < len(names) or DEFAULT not in names or not {*names} - {DEFAULT, *CONTROLS}:
        raise BadInput(f"strategies must be {DEFAULT} and at least one other, each once, got {text!r:.60}")
    return names


class _Shared(NamedTuple):
    """What all runs share."""

    words: Sequence[str]
    out: str


def _plans(
    data: str, names: Sequence[str], shares: Sequence[float], seeds: range, common: _Shared
) -> Iterator[PlannedRun]:
    folder = run_folder(common.out or f"methods-{data}")
    for seed in seeds:
        for name in names:
            shared = [word for word in common.words if name not in CONTROLS or not word.startswith(MANY)]
            for share in (None,) if name in CONTROLS else shares:
                limit = [] if share is None else [f"gflops={100 * share:g}%"]
                at = "" if share is None else f"-{100 * share:g}"
                place = f"out={folder / f'{name}{at}-seed{seed}'}"
                words = [f"strategy={name}", *limit, f"seed={seed}", place, *shared]
                yield PlannedRun(name, share, parts_of(data, *words))
