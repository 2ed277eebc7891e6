"""The fine-tuning of a front under one purse: heat after heat on Ray Tune, what is dominated stops.

Tune's own schedulers decide by quantiles of whatever trial reports first, and keep their state where ours does not
look; here each heat is a set of trials of its own, so the same rows stop whatever the number of workers, and what a
heat found stands in the journal.
"""

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import numpy as np
from ultralytics.nn.tasks import DetectionModel

from evaluators.accuracy.detection import coco_map, predict
from evaluators.data.dataset import Sample
from evaluators.data.images import load_images
from evaluators.metric import Metric
from evaluators.result import Result
from evaluators.worker import Workshop
from leaderboards.recipes.recipe import Recipe
from leaderboards.runs.problem import Problem
from leaderboards.runs.strategies import objectives
from leaderboards.tuning.finetune import FinetuneRecipe, finetune
from leaderboards.tuning.purse import Spent, epochs_each, n_heats, stopped
from leaderboards.watcher import Watcher
from search.journal import Journal
from search.on_tune import run_trials
from search.pareto import losses
from spaces.candidate import Candidate
from spaces.cutting.masks import mask_of
from spaces.detectors.detector import load_detector, save_detector
from spaces.files import write_atomic

HEAT = "heat"
HEATS = "heats"  # the folder of a row in which the networks of its heats lie until it is finished


@dataclass(frozen=True, eq=False)
class Heat:
    """What every row does in one heat; it travels to the workers.

    Attributes:
        holdout: measured at the end, and not trained on; empty in the last heat, after which nothing is decided.
    """

    number: int
    recipe: FinetuneRecipe
    train: tuple[Sample, ...]
    holdout: tuple[Sample, ...]
    folder: Path
    device: str


@dataclass(frozen=True, eq=False)
class Ledger:
    """Who has had how many epochs, and who failed with which error."""

    spent: Mapping[str, Spent] = field(default_factory=dict)
    errors: Mapping[str, str] = field(default_factory=dict)


def spend_purse(
    recipe: Recipe,
    problem: Problem,
    workshop: Workshop,
    front: Sequence[Result],
    journal: Journal,
    watcher: Watcher,
    /,
    *,
    tuning: FinetuneRecipe,
) -> Ledger:
    """Return the ledger after all heats; those that stand in `journal` are not run again.

    The network of each row is in `models/<id>/heats/<its last heat>`.
    """
    assert recipe.purse is not None
    rows = {result.candidate.id: result for result in front}
    alive, left, ledger = list(rows), recipe.purse, Ledger()
    n_all = n_heats(left, len(alive))
    for number in range(n_all):
        if not alive:
            break
        epochs = epochs_each(left, n_rows=len(alive), n_heats=n_all - number)
        if len(journal.records(HEAT)) <= number:
            watcher.stage(f"heat {number + 1} of {n_all}: {len(alive)} rows, {epochs} epochs each, {left} in the purse")
            of_heat = replace(tuning, epochs=epochs, seed=recipe.seed + number)  # another order of the images in each
            heat = _heat(recipe, problem, of_heat, number=number, is_last=number == n_all - 1)
            costs = objectives(recipe, problem)[1:]
            journal.append(HEAT, _raced(recipe, workshop, heat, [rows[row] for row in alive], costs, watcher))
        left -= epochs * len(alive)
        ledger, alive = _settled(ledger, journal.records(HEAT)[number], epochs=epochs)
    return ledger


def run_heat(
    workshop: Workshop,
    heat: Heat,
    candidates: Mapping[str, Candidate],
    row: str,
    report: Callable[[Mapping[str, float]], None],
) -> None:
    """Train row `row` for one heat, from where the one before left it; its own file, written last, says what came."""
    folder = heat.folder / row / HEATS
    told = folder / f"{heat.number}.json"
    if told.exists():
        return
    folder.mkdir(parents=True, exist_ok=True)
    started = time.monotonic()
    candidate = candidates[row]
    studied = workshop.of(candidate)
    checkpoint = folder / f"{heat.number}.pt"
    model = finetune(
        _start(workshop, heat, candidate, folder),
        workshop.parent,
        heat.train,
        recipe=replace(heat.recipe, imgsz=studied.base.imgsz, keep_zeros=mask_of(candidate) is not None),
        checkpoint=checkpoint,
        report=report,
        device=heat.device,
    )
    score = None
    if heat.holdout:
        images = load_images(heat.holdout, imgsz=studied.base.imgsz)
        score = coco_map(predict(model.to(heat.device), images), images).map50_95
    save_detector(model.cpu(), folder / str(heat.number), candidate=candidate)
    write_atomic(told, json.dumps({"map50_95": score, "seconds": time.monotonic() - started}))
    checkpoint.unlink(missing_ok=True)


def load_heat(folder: Path, number: int, /) -> DetectionModel:
    """Return the network with which the row in `folder` left heat `number`."""
    return load_detector(folder / HEATS / str(number))[0]


def _start(workshop: Workshop, heat: Heat, candidate: Candidate, folder: Path) -> DetectionModel:
    if heat.number:
        return load_heat(folder.parent, heat.number - 1)
    return workshop.of(candidate).builder(heat.device).float_network(candidate, workshop.recovery)


def _heat(recipe: Recipe, problem: Problem, tuning: FinetuneRecipe, *, number: int, is_last: bool) -> Heat:
    """Return heat `number`: all but the last leave out the images that decide at their end."""
    dataset, holdout = problem.inputs.dataset, problem.inputs.holdout
    return Heat(
        number,
        tuning,
        dataset.train if is_last else holdout.rest,
        () if is_last else holdout.search,
        (recipe.folder / "models").resolve(),
        recipe.worker_device,
    )


def _raced(
    recipe: Recipe, workshop: Workshop, heat: Heat, rows: Sequence[Result], costs: Sequence[Metric], watcher: Watcher
) -> dict[str, object]:
    """Return what the journal is told of one heat: what each row brought home, and which of them go on."""
    candidates = {result.candidate.id: result.candidate for result in rows}
    errors = run_trials(
        partial(run_heat, workshop, heat, candidates),
        list(candidates),
        workers=recipe.workers,
        storage=recipe.folder.resolve(),
        on_report=watcher.on_epoch,
        gpus=recipe.gpus_a_worker,
    )
    made = [result for result in rows if not errors[result.candidate.id]]
    told = {result.candidate.id: _told(heat, result.candidate.id) for result in made}
    out = set()
    if heat.holdout and made:
        scores = [[-float(str(told[result.candidate.id]["map50_95"]))] for result in made]
        out = {made[index].candidate.id for index in stopped(np.hstack([scores, losses(made, costs)]))}
    failed = {row: error for row, error in errors.items() if error}
    return {"heat": heat.number, "rows": told, "failed": failed, "go_on": [row for row in told if row not in out]}


def _told(heat: Heat, row: str) -> dict[str, object]:
    found: dict[str, object] = json.loads(
        (heat.folder / row / HEATS / f"{heat.number}.json").read_text(encoding="utf-8")
    )
    return found


def _settled(ledger: Ledger, record: Mapping[str, object], *, epochs: int) -> tuple[Ledger, list[str]]:
    """Return `ledger` with what `record` of a heat says, and the rows that go on."""
    rows, failed, go_on = record["rows"], record["failed"], record["go_on"]
    assert isinstance(rows, dict)
    assert isinstance(failed, dict)
    assert isinstance(go_on, list)
    number, before = int(str(record["heat"])), ledger.spent
    had = {row: before.get(row, Spent(-1, 0, 0.0)) for row in rows}
    now = {row: Spent(number, one.epochs + epochs, one.seconds + rows[row]["seconds"]) for row, one in had.items()}
    return Ledger({**before, **now}, {**ledger.errors, **failed}), go_on
