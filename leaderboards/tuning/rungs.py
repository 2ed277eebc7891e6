"""The fine-tuning of a front under one budget of epochs: rung after rung on Ray Tune, what is dominated stops.

Tune's own schedulers decide by quantiles of whatever trial reports first, and keep their state where ours does not
look; here each rung is a set of trials of its own, so the same rows stop whatever the number of workers, and what a
rung found stands in the journal.
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
from evaluators.data.holdout import Holdout
from evaluators.data.images import load_images
from evaluators.metric import Metric
from evaluators.result import Result
from evaluators.worker import Supernets
from leaderboards.recipes.parts import Place
from leaderboards.run_folder import MODELS
from leaderboards.run_records import HALVING
from leaderboards.tuning.finetune import FinetuneRecipe, finetune
from leaderboards.tuning.halving import Spent, epochs_each, n_rungs, stopped
from leaderboards.watcher import Watcher
from search.journal import Journal
from search.on_tune import run_trials
from search.pareto import losses
from spaces.candidate import Candidate
from spaces.cutting.mask import mask_of
from spaces.detectors.detector import load_detector, save_detector
from spaces.files import write_atomic

RUNGS = "rungs"  # the folder of a row in which the networks of its rungs lie until it is finished


@dataclass(frozen=True, eq=False)
class Rung:
    """What every row does in one rung; it travels to the workers.

    Attributes:
        holdout: measured at the end, and never trained on; empty in the last rung, after which nothing is decided.
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


@dataclass(frozen=True, eq=False)
class Halving:
    """What all rows of one budget of epochs share.

    Attributes:
        costs: in which a row that stops is dominated, beside its hold-out mAP.
    """

    holdout: Holdout
    supernets: Supernets
    place: Place
    tuning: FinetuneRecipe
    costs: tuple[Metric, ...]

    def rung(self, number: int, /, *, epochs: int, is_last: bool) -> Rung:
        """Return rung `number`; after the last nothing is decided."""
        return Rung(
            number,
            replace(self.tuning, epochs=epochs, seed=self.tuning.seed + number),  # another order of the images in each
            self.holdout.rest,
            () if is_last else self.holdout.search,
            (self.place.folder / MODELS).resolve(),
            self.place.worker_device,
        )


def spend_epochs(
    n_epochs: int, front: Sequence[Result], halving: Halving, /, *, journal: Journal, watcher: Watcher
) -> Ledger:
    """Return the ledger after all rungs; those that stand in `journal` are not run again.

    The network of each row is in `models/<id>/rungs/<its last rung>`.
    """
    rows = {result.candidate.id: result for result in front}
    alive, left, ledger = list(rows), n_epochs, Ledger()
    n_all = n_rungs(left, len(alive))
    for number in range(n_all):
        if not alive:
            break
        epochs = epochs_each(left, n_rows=len(alive), n_rungs=n_all - number)
        if len(journal.records(HALVING)) <= number:
            watcher.stage(f"rung {number + 1} of {n_all}: {len(alive)} rows, {epochs} epochs each, {left} left")
            rung = halving.rung(number, epochs=epochs, is_last=number == n_all - 1)
            journal.append(HALVING, _raced(halving, rung, [rows[row] for row in alive], watcher))
        left -= epochs * len(alive)
        ledger, alive = _settled(ledger, journal.records(HALVING)[number], epochs=epochs)
    return ledger


def run_rung(
    supernets: Supernets,
    rung: Rung,
    candidates: Mapping[str, Candidate],
    row: str,
    report: Callable[[Mapping[str, float]], None],
) -> None:
    """Train row `row` for one rung, from where the one before left it; its own file, written last, says what came."""
    folder = rung.folder / row / RUNGS
    told = folder / f"{rung.number}.json"
    if told.exists():
        return
    folder.mkdir(parents=True, exist_ok=True)
    started = time.monotonic()
    candidate = candidates[row]
    studied = supernets.of(candidate)
    checkpoint = folder / f"{rung.number}.pt"
    model = finetune(
        _start(supernets, rung, candidate, folder),
        supernets.parent,
        rung.train,
        recipe=replace(rung.recipe, imgsz=studied.base.imgsz, keep_zeros=mask_of(candidate) is not None),
        checkpoint=checkpoint,
        report=report,
        device=rung.device,
    )
    score = None
    if rung.holdout:
        images = load_images(rung.holdout, imgsz=studied.base.imgsz)
        score = coco_map(predict(model.to(rung.device), images), images).map50_95
    save_detector(model.cpu(), folder / str(rung.number), candidate=candidate)
    write_atomic(told, json.dumps({"map50_95": score, "seconds": time.monotonic() - started}))
    checkpoint.unlink(missing_ok=True)


def load_rung(folder: Path, number: int, /) -> DetectionModel:
    """Return the network with which the row in `folder` left rung `number`."""
    return load_detector(folder / RUNGS / str(number))[0]


def _start(supernets: Supernets, rung: Rung, candidate: Candidate, folder: Path) -> DetectionModel:
    if rung.number:
        return load_rung(folder.parent, rung.number - 1)
    return supernets.of(candidate).builder(rung.device).float_network(candidate, supernets.recovery)


def _raced(halving: Halving, rung: Rung, rows: Sequence[Result], watcher: Watcher) -> dict[str, object]:
    """Return what the journal is told of one rung: what each row brought home, and which of them go on."""
    candidates = {result.candidate.id: result.candidate for result in rows}
    errors = run_trials(
        partial(run_rung, halving.supernets, rung, candidates),
        list(candidates),
        workers=halving.place.workers,
        storage=halving.place.folder.resolve(),
        on_report=watcher.on_epoch,
        gpus=halving.place.gpus_a_worker,
    )
    made = [result for result in rows if not errors[result.candidate.id]]
    told = {result.candidate.id: _told(rung, result.candidate.id) for result in made}
    out = set()
    if rung.holdout and made:
        scores = [[-float(str(told[result.candidate.id]["map50_95"]))] for result in made]
        out = {made[index].candidate.id for index in stopped(np.hstack([scores, losses(made, halving.costs)]))}
    failed = {row: error for row, error in errors.items() if error}
    return {"rung": rung.number, "rows": told, "failed": failed, "go_on": [row for row in told if row not in out]}


def _told(rung: Rung, row: str) -> dict[str, object]:
    found: dict[str, object] = json.loads(
        (rung.folder / row / RUNGS / f"{rung.number}.json").read_text(encoding="utf-8")
    )
    return found


def _settled(ledger: Ledger, record: Mapping[str, object], *, epochs: int) -> tuple[Ledger, list[str]]:
    """Return `ledger` with what `record` of a rung says, and the rows that go on."""
    rows, failed, go_on = record["rows"], record["failed"], record["go_on"]
    assert isinstance(rows, dict)
    assert isinstance(failed, dict)
    assert isinstance(go_on, list)
    number, before = int(str(record["rung"])), ledger.spent
    had = {row: before.get(row, Spent(-1, 0, 0.0)) for row in rows}
    now = {row: Spent(number, one.epochs + epochs, one.seconds + rows[row]["seconds"]) for row, one in had.items()}
    return Ledger({**before, **now}, {**ledger.errors, **failed}), go_on
