"""The runs that a benchmark compares: real ones, each in a folder of its own and resumed there.

So a benchmark that was stopped goes on where it was. The study of the parent, which runs of one seed and importance
share, is made once for all of them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from evaluators.result import Result
from leaderboards.benchmarks.whole_runs.comparison import Trial
from leaderboards.recipes.demands import check_demands
from leaderboards.recipes.recipe import Recipe
from leaderboards.reports.across.past_run import PastRun, read_past_run
from leaderboards.runs.inputs import load_inputs
from leaderboards.runs.prepare import analyse
from leaderboards.runs.problem import Inputs
from leaderboards.runs.run import check_folder, run
from leaderboards.runs.studies import STUDY, make_workshop
from spaces.errors import NothingFeasible, OutOfReach
from spaces.files import write_atomic


@dataclass(frozen=True)
class Plan:
    """One run that is to be made.

    Attributes:
        name: of what is compared, the same for all budgets and seeds.
        share: of the parent's MACs; None where there is no limit.
    """

    name: str
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


def make_trials(plans: Sequence[Plan], /) -> list[Trial]:
    """Return what comes of `plans`, from its folder where one is finished already.

    Raises:
        BadInput: one of them cannot be run; before any of them begins.
    """
    inputs = {seed: load_inputs(plan.recipe) for seed, plan in _first_of_seed(plans).items()}
    for plan in plans:
        check_demands(plan.recipe)
        check_folder(plan.recipe, inputs[plan.recipe.seed])
    return [_trial(plan, inputs[plan.recipe.seed]) for plan in plans]


def _first_of_seed(plans: Sequence[Plan]) -> dict[int, Plan]:
    return {plan.recipe.seed: plan for plan in reversed(plans)}


def _trial(plan: Plan, inputs: Inputs) -> Trial:
    folder, error = plan.recipe.folder, ""
    if not (folder / "report.html").exists():
        try:
            _make(plan.recipe, inputs)
        except (NothingFeasible, OutOfReach) as nothing:
            error = str(nothing)
    past: PastRun | None = None if error else read_past_run(folder)
    return Trial(plan.name, plan.share, plan.recipe.seed, past, error)


def _make(recipe: Recipe, inputs: Inputs) -> None:
    """Run `recipe` with the study that all runs of its seed and importance share, where a run has one."""
    problem = analyse(recipe, inputs)
    shared = recipe.folder.parent / "studies" / f"{recipe.importance}-seed{recipe.seed}"
    if not (shared / STUDY).exists():
        shared.mkdir(parents=True, exist_ok=True)
        make_workshop(recipe, problem, folder=shared)
    recipe.folder.mkdir(parents=True, exist_ok=True)
    if (shared / STUDY).exists() and not (recipe.folder / STUDY).exists():
        write_atomic(recipe.folder / STUDY, (shared / STUDY).read_bytes())
    run(recipe, problem, Silent())
