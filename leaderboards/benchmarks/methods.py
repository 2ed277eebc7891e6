"""Which strategy is best? Each as a real run, with the same evaluations, images and fine-tuning.

A method that was published with another recovery or importance keeps its own. Every strategy has its own folder for
each budget and seed and is resumed there, so a benchmark that was stopped goes on where it was. Seconds are those of
the search; the study of the parent, which all of them use, is made once for each seed and left out. Strategies that
train read the images that rank as well, so their hypervolume flatters them; their rows on val do not.
"""

import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, get_args

from evaluators.result import Result
from leaderboards.benchmarks.comparison import CONTROLS, DEFAULT, Trial, holds, rows_of, worst_share
from leaderboards.benchmarks.record import Record
from leaderboards.benchmarks.setting import command, read_count, read_shares, recipe_of
from leaderboards.prepare import Inputs, analyse, load_inputs
from leaderboards.recipes.demands import check_demands
from leaderboards.recipes.recipe import EMBEDDED, Recipe, run_folder
from leaderboards.reports.across import read_across
from leaderboards.reports.across_report import publish_across
from leaderboards.reports.past_run import PastRun, read_past_run
from leaderboards.reports.publish import environment
from leaderboards.run import check_folder, run
from leaderboards.studies import STUDY, make_workshop
from spaces.errors import BadInput, NothingFeasible, OutOfReach

STRATEGIES: tuple[str, ...] = get_args(Recipe.model_fields["strategy"].annotation)
MANY = ("candidates=", "front=")  # keys that a control has no use for: it makes one row
ALL = "all"
TARGET = 0.5


@dataclass(frozen=True)
class Plan:
    """One run that is to be made.

    Attributes:
        share: of the parent's MACs; None for a control, which has no limit.
    """

    strategy: str
    share: float | None
    recipe: Recipe


class Silent:
    """Is told how a run goes and says nothing."""

    def stage(self, text: str) -> None:
        """A new stage begins."""

    def on_result(self, result: Result) -> None:
        """A candidate was measured."""

    def on_epoch(self, name: str, readings: Mapping[str, float]) -> None:
        """A row finished an epoch of fine-tuning."""


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

    One leaderboard of all runs, with the curves of their searches, is written to the folder that they lie in.

    Args:
        data: digits, or bccd or coco128 where REAL_DATA leads to them.
        strategies: names with commas between them, the default among them.
        budgets: percentages of the parent's MACs.
        candidates: of each search.
        front: rows of each search that are fine-tuned.
        epochs: of the fine-tuning of each row.
        proxy: what ranks; the recipe's default unless given.
        out: a folder for the runs.
    """
    shares, n_seeds = read_shares("budgets", budgets), read_count("seeds", seeds, least=1)
    words = [f"candidates={candidates}", f"front={front}", f"finetune_epochs={epochs}", f"workers={workers}"]
    words += [f"proxy={proxy}"] if proxy else []
    plans = list(_plans(data, read_names(strategies), shares, range(n_seeds), _Setting(words, out)))
    inputs = {seed: load_inputs(plan.recipe) for seed, plan in _first_of_seed(plans).items()}
    for plan in plans:  # before any of them begins
        check_demands(plan.recipe)
        check_folder(plan.recipe, inputs[plan.recipe.seed])
    trials = [_trial(plan, inputs[plan.recipe.seed]) for plan in plans]
    if len(finished := [plan.recipe.folder for plan, trial in zip(plans, trials, strict=True) if trial.run]) > 1:
        publish_across(read_across(finished), plans[0].recipe.folder.parent)
    given = (
        f"strategies={strategies} budgets={budgets} seeds={seeds} candidates={candidates} front={front} epochs={epochs}"
    )
    given += f" proxy={proxy}" if proxy else ""
    return Record(
        f"methods_{data}",
        "evaluations after which the default's hypervolume, mean of the seeds, is the best other strategy's final one, "
        "as a share of that one's evaluations, at the worst budget (2 if never)",
        worst_share(trials),
        f"at most {TARGET}, and at 60 % of the MACs at most half of the mAP lost that random loses",
        worst_share(trials) <= TARGET and holds(trials),
        rows_of(trials),
        environment(),
        command("methods", data, given),
    )


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


class _Setting(NamedTuple):
    """What all runs share."""

    words: Sequence[str]
    out: str


def _plans(data: str, names: Sequence[str], shares: Sequence[float], seeds: range, setting: _Setting) -> Iterator[Plan]:
    folder = run_folder(setting.out or f"methods-{data}")
    for seed in seeds:
        for name in names:
            shared = [word for word in setting.words if name not in CONTROLS or not word.startswith(MANY)]
            for share in (None,) if name in CONTROLS else shares:
                limit = [] if share is None else [f"gflops={100 * share:g}%"]
                at = "" if share is None else f"-{100 * share:g}"
                place = f"out={folder / f'{name}{at}-seed{seed}'}"
                words = [f"strategy={name}", *limit, f"seed={seed}", place, *shared]
                yield Plan(name, share, recipe_of(data, *words))


def _first_of_seed(plans: Sequence[Plan]) -> dict[int, Plan]:
    return {plan.recipe.seed: plan for plan in reversed(plans)}


def _trial(plan: Plan, inputs: Inputs) -> Trial:
    """Return what comes of `plan`, from its folder if it is finished already."""
    folder, error = plan.recipe.folder, ""
    if not (folder / "report.html").exists():
        try:
            _make(plan, inputs)
        except (NothingFeasible, OutOfReach) as nothing:
            error = str(nothing)
    past: PastRun | None = None if error else read_past_run(folder)
    return Trial(plan.strategy, plan.share, plan.recipe.seed, past, error)


def _make(plan: Plan, inputs: Inputs) -> None:
    """Run `plan` with the study that all runs of its seed and importance share, where a run has one."""
    recipe, problem = plan.recipe, analyse(plan.recipe, inputs)
    shared = recipe.folder.parent / "studies" / f"{recipe.importance}-seed{recipe.seed}"
    if not (shared / STUDY).exists():
        shared.mkdir(parents=True, exist_ok=True)
        make_workshop(recipe, problem, folder=shared)
    recipe.folder.mkdir(parents=True, exist_ok=True)
    if (shared / STUDY).exists() and not (recipe.folder / STUDY).exists():
        _copy_whole(shared / STUDY, recipe.folder / STUDY)
    run(recipe, problem, Silent())


def _copy_whole(source: Path, target: Path) -> None:
    partial = target.with_name(f".{target.name}.partial")
    shutil.copy(source, partial)
    partial.replace(target)
