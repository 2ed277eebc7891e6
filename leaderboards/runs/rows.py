"""The rows of a leaderboard: fine-tuned and exported by workers, then timed one at a time, then written down."""

import json
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import NamedTuple

from evaluators.data.dataset import Sample
from evaluators.latency.sentinel import measure_sentinel
from evaluators.latency.stages import measure_stages
from evaluators.latency.timing import measure_latency
from evaluators.result import Result, Status
from evaluators.worker import Workshop
from leaderboards.choice import FILES, Precision
from leaderboards.entry import PARENT, Entry, Quality
from leaderboards.recipes.recipe import Recipe
from leaderboards.runs.problem import Problem
from leaderboards.tuning.finetune import FinetuneRecipe, default_lr
from leaderboards.tuning.finishing import MEASURED, Finishing, finish_row
from leaderboards.tuning.heats import Ledger, spend_purse
from leaderboards.watcher import Watcher
from search.journal import Journal
from search.on_tune import run_trials
from spaces.candidate import Candidate

LATENCY_SECONDS = 2.0


def finish_rows(
    recipe: Recipe,
    problem: Problem,
    workshop: Workshop,
    front: Sequence[Result],
    journal: Journal,
    watcher: Watcher,
    /,
) -> None:
    """Fine-tune, export and measure every row that has no entry yet, the parent among them."""
    known = {str(record["id"]) for record in journal.records("entry")}
    scored = {PARENT: None, **{result.candidate.id: result for result in front}}
    candidates = {row: problem.space.parent if result is None else result.candidate for row, result in scored.items()}
    missing = [row for row in scored if row not in known]
    if not missing:
        return
    tuning = finetune_recipe(recipe, n_classes=len(problem.inputs.dataset.names))
    ledger = Ledger()
    if recipe.purse is not None:
        ledger = spend_purse(recipe, problem, workshop, front, journal, watcher, tuning=tuning)
    is_tuned_here = recipe.finetune_epochs and recipe.purse is None
    watcher.stage(f"{'fine-tuning and ' if is_tuned_here else ''}exporting {len(missing)} rows")
    finishing = _finishing(recipe, problem, tuning, ledger)
    errors = dict(ledger.errors) | run_trials(
        partial(finish_row, workshop, finishing, candidates),
        # the parent needs no fine-tuning: it fills the last gap
        sorted((row for row in missing if row not in ledger.errors), key=lambda row: row == PARENT),
        workers=recipe.workers,
        storage=recipe.folder.resolve(),
        on_report=watcher.on_epoch,
        gpus=recipe.gpus_a_worker,
    )
    watcher.stage("timing the rows, one at a time")
    typical = problem.inputs.dataset.val[0]
    for row in missing:
        imgsz = problem.bases[candidates[row].base].imgsz
        made = _Made(row, candidates[row], errors[row], imgsz, finishing.folder / row)
        entry = _entry(made, recipe, typical, proxy=_proxy(scored[row], recipe))
        journal.append("entry", entry.to_json())


def _finishing(recipe: Recipe, problem: Problem, tuning: FinetuneRecipe, ledger: Ledger) -> Finishing:
    return Finishing(
        tuning,
        replace(tuning, epochs=tuning.epochs if recipe.qat_epochs is None else recipe.qat_epochs),
        problem.inputs.dataset.train,
        problem.inputs.dataset.val,
        (recipe.folder / "models").resolve(),
        recipe.worker_device,
        ledger.spent,
    )


class _Made(NamedTuple):
    """A row whose files are written, or whose making failed with `error`."""

    row: str
    candidate: Candidate
    error: str
    imgsz: int
    folder: Path


def _entry(made: _Made, recipe: Recipe, typical: Sample, /, *, proxy: float | None) -> Entry:
    measured = None if made.error else json.loads((made.folder / MEASURED).read_text(encoding="utf-8"))
    quality = None
    if measured is not None:
        own = {name: value for name, value in measured.items() if name not in ("epochs", "seconds")}
        deployed = FILES[Precision.INT8 if own["int8_execution"] else Precision.FP32]
        quality = Quality.from_json({**own, **_times(made.folder, deployed, typical, imgsz=made.imgsz)})
    return Entry(
        id=made.row,
        candidate=made.candidate,
        strategy=PARENT if made.row == PARENT else recipe.strategy,
        status=Status.FAILED if quality is None else Status.DONE,
        proxy=proxy,
        proxy_name=recipe.proxy,
        imgsz=made.imgsz,
        seed=recipe.seed,
        epochs=0 if measured is None else int(measured["epochs"]),
        seconds=0.0 if measured is None else float(measured["seconds"]),
        quality=quality,
        error=made.error,
    )


def _times(folder: Path, deployed: str, typical: Sample, /, *, imgsz: int) -> dict[str, float]:
    """Return the row's latencies by their names in `Quality`; `deployed` is the file that the row stands for."""
    sentinel = measure_sentinel(threads=1)
    own, int8 = (
        measure_latency(folder / name, threads=1, max_seconds=LATENCY_SECONDS)
        for name in (deployed, FILES[Precision.INT8])
    )
    stages = measure_stages(folder / deployed, typical, imgsz=imgsz)
    return {
        "latency_ms": own.median_ms,
        "latency_p95_ms": own.p95_ms,
        "latency_low_ms": own.low_ms,
        "latency_high_ms": own.high_ms,
        "int8_latency_ms": int8.median_ms,
        "int8_latency_p95_ms": int8.p95_ms,
        "preprocess_ms": stages.preprocess.median_ms,
        "postprocess_ms": stages.postprocess.median_ms,
        "sentinel_ms": sentinel.median_ms,
    }


def _proxy(result: Result | None, recipe: Recipe) -> float | None:
    return None if result is None else result.readings[recipe.proxy]


def finetune_recipe(recipe: Recipe, /, *, n_classes: int) -> FinetuneRecipe:
    """Return how every row of `recipe` is fine-tuned."""
    return FinetuneRecipe(
        epochs=recipe.finetune_epochs,
        imgsz=recipe.imgsz,
        batch=recipe.batch,
        lr=default_lr(n_classes) if recipe.lr is None else recipe.lr,
        distill=recipe.distill,
        flip=recipe.flip,
        mosaic=recipe.mosaic,
        seed=recipe.seed,
    )
