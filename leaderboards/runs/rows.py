"""The rows of a leaderboard: fine-tuned and exported by workers, then timed one at a time, then written down."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import NamedTuple

from evaluators.data.dataset import Sample
from evaluators.latency.sentinel import measure_sentinel
from evaluators.latency.stages import measure_stages
from evaluators.latency.timing import measure_call
from evaluators.result import Result, Status
from evaluators.runtimes.runtime import load_runtime
from evaluators.worker import Supernets
from leaderboards.entry import PARENT, REFERENCE, Entry, Quality
from leaderboards.recipes.parts import Place, Ranking, Tuning
from leaderboards.run_folder import MODELS
from leaderboards.run_records import ENTRY
from leaderboards.runs.problem import Inputs, Problem
from leaderboards.runs.references import plan_references, study_references
from leaderboards.runs.strategies import objectives
from leaderboards.tuning.finetune import FinetuneRecipe, finetune_recipe
from leaderboards.tuning.finishing import MEASURED, Finishing, finish_row
from leaderboards.tuning.halving import Spent
from leaderboards.tuning.rungs import Halving, Ledger, spend_epochs
from leaderboards.watcher import Watcher
from search.journal import Journal
from search.on_tune import run_trials
from spaces.bases.base import Base
from spaces.bases.names import BaseName
from spaces.candidate import Candidate
from spaces.recovery.recovery import Recovery

LATENCY_SECONDS = 2.0


def finish_rows(
    front: Sequence[Result],
    problem: Problem,
    supernets: Supernets,
    /,
    *,
    place: Place,
    ranking: Ranking,
    tuning: Tuning,
    journal: Journal,
    watcher: Watcher,
) -> None:
    """Fine-tune, export and measure every row that has no entry yet, the parent, which is not trained, last."""
    scored = {result.candidate.id: result for result in front}
    candidates = {PARENT: problem.space.parent, **{row: result.candidate for row, result in scored.items()}}
    references = plan_references(problem, has_smaller_image=ranking.has_references)
    candidates |= {row: base.space.parent for row, base in references.items()}
    known = {record["id"] for record in journal.records(ENTRY)}
    if not (missing := {row: candidate for row, candidate in candidates.items() if row not in known}):
        return
    studied = study_references(references, problem, n_images=len(supernets.same.calibration), seed=ranking.seed)
    supernets = replace(supernets, bases={**studied, **supernets.bases})
    own, ledger = _spend(
        front, problem, supernets, place=place, ranking=ranking, tuning=tuning, journal=journal, watcher=watcher
    )
    told = "fine-tuning and " if tuning.epochs and tuning.epoch_budget is None else ""
    watcher.stage(f"{told}exporting {len(missing)} rows")
    finishing = _finishing(own, tuning, place, problem.inputs, spent=ledger.spent, rivals=_foreign(references, problem))
    errors = dict(ledger.errors) | run_trials(
        partial(finish_row, supernets, finishing, candidates),
        sorted((row for row in missing if row not in ledger.errors), key=lambda row: row == PARENT),
        workers=place.workers,
        storage=place.folder.resolve(),
        on_report=watcher.on_epoch,
        gpus=place.gpus_a_worker,
    )
    watcher.stage("timing the rows, one at a time")
    for row, candidate in missing.items():
        made = _Made(row, candidate, errors[row], supernets.of(candidate).base.imgsz, finishing.folder / row)
        entry = _entry(made, ranking, problem.inputs.dataset.val[0], scored=scored.get(row))
        journal.append(ENTRY, entry.to_json())
        watcher.on_entry(entry)


def _spend(
    front: Sequence[Result],
    problem: Problem,
    supernets: Supernets,
    /,
    *,
    place: Place,
    ranking: Ranking,
    tuning: Tuning,
    journal: Journal,
    watcher: Watcher,
) -> tuple[FinetuneRecipe, Ledger]:
    """Return how rows are fine-tuned, and what has come of an epoch budget; what is no part of it has a row's share."""
    own = finetune_recipe(tuning, n_classes=len(problem.inputs.dataset.names))
    if supernets.recovery is Recovery.NOTHING:  # the statistics are still the uncut network's
        own = replace(own, freezes_bn=False)
    if tuning.epoch_budget is None:
        return own, Ledger()
    halving = Halving(problem.inputs.holdout, supernets, place, own, objectives(ranking.proxy, problem)[1:])
    ledger = spend_epochs(tuning.epoch_budget, front, halving, journal=journal, watcher=watcher)
    return replace(own, epochs=max(tuning.epoch_budget // len(front), 1)), ledger


def _finishing(
    own: FinetuneRecipe,
    tuning: Tuning,
    place: Place,
    inputs: Inputs,
    /,
    *,
    spent: Mapping[str, Spent],
    rivals: Sequence[str],
) -> Finishing:
    """Return how rows are finished that are fine-tuned by `own`."""
    return Finishing(
        own,
        replace(own, epochs=tuning.qat_epochs),
        inputs.holdout.rest,
        inputs.dataset.val,
        (place.folder / MODELS).resolve(),
        place.worker_device,
        tuning.runtimes,
        tuning.int8,
        inputs.holdout.search,
        spent,
        rivals,
    )


def _foreign(references: Mapping[str, Base], problem: Problem) -> list[str]:
    """Return the names of those bases of `references` that are other detectors."""
    return [base.name for base in references.values() if BaseName.parse(base.name).backbone in problem.rivals]


class _Made(NamedTuple):
    """A row whose files are written, or whose making failed with `error`."""

    row: str
    candidate: Candidate
    error: str
    imgsz: int
    folder: Path


def _entry(made: _Made, ranking: Ranking, typical: Sample, /, *, scored: Result | None) -> Entry:
    measured = None if made.error else json.loads((made.folder / MEASURED).read_text(encoding="utf-8"))
    quality = None
    if measured is not None:
        own = {name: value for name, value in measured.items() if name not in ("epochs", "seconds")}
        quality = Quality.from_json({**own, **_times(made.folder, own["files"], typical, imgsz=made.imgsz)})
    return Entry(
        id=made.row,
        candidate=made.candidate,
        strategy=ranking.strategy if scored else PARENT if made.row == PARENT else REFERENCE,
        status=Status.FAILED if quality is None else Status.DONE,
        proxy=None if scored is None else scored.readings[ranking.proxy],
        proxy_name=ranking.proxy,
        imgsz=made.imgsz,
        seed=ranking.seed,
        epochs=0 if measured is None else int(measured["epochs"]),
        seconds=0.0 if measured is None else float(measured["seconds"]),
        quality=quality,
        error=made.error,
    )


def _times(folder: Path, files: Sequence[Mapping[str, str]], typical: Sample, /, *, imgsz: int) -> dict[str, object]:
    """Return the files of a row with their latencies, and its stages, by their names in `Quality`."""
    sentinel = measure_sentinel(threads=1)
    timed = [{**file, **_latency(folder / file["file"], file["runtime"])} for file in files]
    runtime = load_runtime(files[0]["runtime"])
    stages = measure_stages(runtime.open(folder / files[0]["file"], threads=1), typical, imgsz=imgsz)
    return {
        "files": timed,
        "preprocess_ms": stages.preprocess.median_ms,
        "postprocess_ms": stages.postprocess.median_ms,
        "sentinel_ms": sentinel.median_ms,
    }


def _latency(path: Path, runtime: str) -> dict[str, float]:
    opens = load_runtime(runtime).open
    found = measure_call(lambda: opens(path, threads=1).bare_call(), threads=1, max_seconds=LATENCY_SECONDS)
    return {
        "latency_ms": found.median_ms,
        "latency_p95_ms": found.p95_ms,
        "latency_low_ms": found.low_ms,
        "latency_high_ms": found.high_ms,
    }
