"""One row of the leaderboard, from candidate to files: built, fine-tuned, trained on its bits, exported, measured."""

import json
import shutil
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from ultralytics.nn.tasks import DetectionModel

from evaluators.accuracy.detection import coco_map, predict
from evaluators.data.dataset import Sample
from evaluators.data.images import load_images
from evaluators.runtimes.by_name import DEFAULT
from evaluators.runtimes.precision import Int8
from evaluators.runtimes.runtime import Exported, Runtime, load_runtime
from evaluators.worker import Studied, Supernets
from leaderboards.entry import PARENT
from leaderboards.files.export import opens_in_ultralytics, save_pt
from leaderboards.tuning.best_between import ENDS, SHARES, best_between
from leaderboards.tuning.detection import parent_threshold
from leaderboards.tuning.finetune import FinetuneRecipe, finetune
from leaderboards.tuning.halving import Spent
from leaderboards.tuning.row_quality import measure_row, size_of, sparsity
from leaderboards.tuning.rungs import RUNGS, load_rung
from spaces.bits.layer_bits import from_picks
from spaces.bits.quantized import plain
from spaces.candidate import Candidate
from spaces.cutting.mask import mask_of
from spaces.detectors.detector import save_detector
from spaces.files import write_atomic

MEASURED = "measured.json"
THRESHOLD = "threshold.json"
STAGES = ("finetune.pt", "qat.pt")  # the checkpoints of a row that is not finished


@dataclass(frozen=True, eq=False)
class Finishing:
    """How rows are finished, the same for each of them.

    Attributes:
        qat: how a row that has bits is trained on them afterwards.
        train: without the hold-out.
        holdout: of train: tells whether a training was worth it; without one, it is taken to be.
        val: the sealed split; only a finished row is measured on it.
        folder: the rows' files go to `folder/<id>/`.
        runtimes: the names of those that each row gets files for, the default one first.
        int8: for which processors their INT8 files are made.
        spent: what each row has had of an epoch budget; without one, rows are fine-tuned here.
        rivals: the bases whose networks the parent does not teach, as their heads may be of another form.
    """

    recipe: FinetuneRecipe
    qat: FinetuneRecipe
    train: tuple[Sample, ...]
    val: tuple[Sample, ...]
    folder: Path
    device: str
    runtimes: tuple[str, ...] = (DEFAULT,)
    int8: Int8 = Int8.PORTABLE
    holdout: tuple[Sample, ...] = ()
    spent: Mapping[str, Spent] = field(default_factory=dict)
    rivals: Collection[str] = ()


def finish_row(
    supernets: Supernets,
    finishing: Finishing,
    candidates: Mapping[str, Candidate],
    row: str,
    report: Callable[[Mapping[str, float]], None],
) -> None:
    """Make row `row` of the leaderboard, from the candidate to `measured.json`, which is written last.

    The unpruned parent is not fine-tuned: it is what the user already has.
    """
    folder = finishing.folder / row
    folder.mkdir(parents=True, exist_ok=True)
    if (folder / MEASURED).exists():
        return
    started = time.monotonic()
    candidate = candidates[row]
    studied = supernets.of(candidate)
    if row == PARENT:
        finishing = replace(finishing, recipe=replace(finishing.recipe, epochs=0))
    if candidate.base in finishing.rivals:
        finishing = replace(finishing, recipe=replace(finishing.recipe, distill=0.0))
    model, kept = _made(supernets, finishing, candidate, folder, report)
    threshold = parent_threshold(
        supernets.parent,
        finishing.val,
        finishing.folder / PARENT / THRESHOLD,
        imgsz=supernets.same.base.imgsz,
        device=finishing.device,
    )
    runtimes = [load_runtime(name) for name in finishing.runtimes]
    written = _write_files(model, folder, runtimes, candidate=candidate, studied=studied, int8=finishing.int8)
    val, costs = load_images(finishing.val, imgsz=studied.base.imgsz), studied.base.costs(candidate)
    measured = measure_row(model, folder, val, written, device=finishing.device, threshold=threshold)
    measured |= {"gflops": 2 * costs["macs_g"], "bops_g": costs.get("bops_g")}
    measured |= sparsity(model, size_of(folder / written[0][1].file)) if mask_of(candidate) else {}
    spent = finishing.spent.get(row, Spent(0, finishing.recipe.epochs, 0.0))
    measured |= kept
    measured["epochs"] = spent.epochs
    measured["seconds"] = spent.seconds + time.monotonic() - started
    write_atomic(folder / MEASURED, json.dumps(measured))
    for stage in STAGES:
        (folder / stage).unlink(missing_ok=True)
    shutil.rmtree(folder / RUNGS, ignore_errors=True)


def _made(
    supernets: Supernets,
    finishing: Finishing,
    candidate: Candidate,
    folder: Path,
    report: Callable[[Mapping[str, float]], None],
) -> tuple[DetectionModel, dict[str, float]]:
    """Return the network of `candidate`, fine-tuned in float and then, if it has bits, on these; no worse than before.

    What was kept of each training stands beside it, by its name in `Quality`.
    """
    studied = supernets.of(candidate)
    builder = studied.builder(finishing.device)
    imgsz, is_masked = studied.base.imgsz, mask_of(candidate) is not None
    tune = partial(_tuned, supernets.parent, finishing, imgsz=imgsz, keep_zeros=is_masked, report=report)
    finetuning, qat = (folder / stage for stage in STAGES)
    start, had = builder.float_network(candidate, supernets.recovery), finishing.spent.get(folder.name)
    tuned = load_rung(folder, had.rung) if had else tune(start, finishing.recipe, checkpoint=finetuning)
    model, share = _better(start, tuned, finishing, imgsz=imgsz, shares=SHARES)
    kept = {} if share is None else {"tuned_share": share}
    allocation = from_picks(candidate.picks)
    if not allocation:
        return model, kept
    rounded = builder.quantized(model.to(finishing.device), allocation, n_images=len(studied.calibration))
    trained = tune(rounded, finishing.qat, checkpoint=qat)
    model, share = _better(rounded, trained, finishing, imgsz=imgsz, shares=ENDS)  # grids do not mix
    return model, kept if share is None else {**kept, "qat_share": share}


def _better(
    start: DetectionModel, tuned: DetectionModel, finishing: Finishing, /, *, imgsz: int, shares: Sequence[float]
) -> tuple[DetectionModel, float | None]:
    """Return the best of `start`, `tuned` and what lies between by hold-out mAP, and what share of the way that is.

    Nothing was trained where the two are one, and nothing is told where there is no hold-out.
    """
    if tuned is start or not finishing.holdout:
        return tuned, None
    images = load_images(finishing.holdout, imgsz=imgsz)
    best = best_between(
        start.cpu(),
        tuned.cpu(),
        lambda network: coco_map(predict(network.to(finishing.device), images), images).map50_95,
        shares=shares,
    )
    return best.network.cpu(), best.share


def _tuned(
    parent: DetectionModel,
    finishing: Finishing,
    model: DetectionModel,
    recipe: FinetuneRecipe,
    *,
    checkpoint: Path,
    imgsz: int,
    keep_zeros: bool,
    report: Callable[[Mapping[str, float]], None],
) -> DetectionModel:
    """Return `model` as `recipe` trains it, at `imgsz`."""
    if not recipe.epochs:
        return model
    return finetune(
        model,
        parent,
        finishing.train,
        recipe=replace(recipe, imgsz=imgsz, keep_zeros=keep_zeros),
        checkpoint=checkpoint,
        report=report,
        device=finishing.device,
    )


def _write_files(
    model: DetectionModel,
    folder: Path,
    runtimes: Sequence[Runtime],
    /,
    *,
    candidate: Candidate,
    studied: Studied,
    int8: Int8,
) -> list[tuple[Runtime, Exported]]:
    """Write every file of a row; return those that are deployed, by the runtime that computes them."""
    imgsz = studied.base.imgsz
    save_detector(model, folder, candidate=candidate)
    if opens_in_ultralytics(model):
        save_pt(plain(model), folder / "model.pt", imgsz=imgsz)
    calibration = [batch.numpy() for batch in studied.calibration.batches(16)]
    return [
        (runtime, exported)
        for runtime in runtimes
        for exported in runtime.export(model, folder, imgsz=imgsz, calibration=calibration, int8=int8)
    ]
