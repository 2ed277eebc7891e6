"""The runs that a benchmark compares: real ones, each in a folder of its own and resumed there.

So a benchmark that was stopped goes on where it was. The study of the parent, which runs of one seed and importance
share, is made once for all of them.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from leaderboards.benchmarks.whole_runs.comparison import FinishedRun
from leaderboards.recipes.parts import Parts
from leaderboards.reports.across.past_run import PastRun, read_past_run
from leaderboards.runs.inputs import load_inputs
from leaderboards.runs.prepare import analyse
from leaderboards.runs.problem import Inputs
from leaderboards.runs.run import check_folder, run
from leaderboards.runs.studies import STUDY, make_supernets
from spaces.errors import NothingFeasible, OutOfReach
from spaces.files import write_atomic


@dataclass(frozen=True)
class PlannedRun:
    """One run that is to be made.

    Attributes:
        name: of what is compared, the same for all budgets and seeds.
        share: of the parent's MACs; None where there is no limit.
    """

    name: str
    share: float | None
    parts: Parts


def make_runs(plans: Sequence[PlannedRun], /) -> list[FinishedRun]:
    """Return what comes of `plans`, from its folder where one is finished already.

    Raises:
        BadInput: one of them cannot be run; before any of them begins.
    """
    inputs = {seed: load_inputs(plan.parts) for seed, plan in _first_of_seed(plans).items()}
    for plan in plans:
        check_folder(plan.parts, inputs[plan.parts.ranking.seed])
    return [_finished(plan, inputs[plan.parts.ranking.seed]) for plan in plans]


def _first_of_seed(plans: Sequence[PlannedRun]) -> dict[int, PlannedRun]:
    return {plan.parts.ranking.seed: plan for plan in reversed(plans)}


def _finished(plan: PlannedRun, inputs: Inputs) -> FinishedRun:
    folder, error = plan.parts.place.folder, ""
    if not (folder / "report.html").exists():
        try:
            _make(plan.parts, inputs)
        except (NothingFeasible, OutOfReach) as nothing:
            error = str(nothing)
    past: PastRun | None = None if error else read_past_run(folder)
    return FinishedRun(plan.name, plan.share, plan.parts.ranking.seed, past, error)


def _make(parts: Parts, inputs: Inputs) -> None:
    """Make one run with the study that all runs of its seed and importance share, where a run has one."""
    problem = analyse(parts, inputs)
    shared = parts.place.folder.parent / "studies" / f"{parts.making.importance}-seed{parts.ranking.seed}"
    if not (shared / STUDY).exists():
        shared.mkdir(parents=True, exist_ok=True)
        make_supernets(parts.making, problem, folder=shared)
    parts.place.folder.mkdir(parents=True, exist_ok=True)
    if (shared / STUDY).exists() and not (parts.place.folder / STUDY).exists():
        write_atomic(parts.place.folder / STUDY, (shared / STUDY).read_bytes())
    run(parts, problem, [])
