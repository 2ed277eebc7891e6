"""One row of the leaderboard, from candidate to files: built, fine-tuned, trained on its bits, exported, measured."""

import json
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from ultralytics.nn.tasks import DetectionModel

from evaluators.accuracy.average_precision import tally
from evaluators.accuracy.detection import CocoMap, coco_map, detections, predict
from evaluators.accuracy.layer_noise import unrounded, worst_layers
from evaluators.accuracy.resampled_map import save_tally
from evaluators.data.dataset import Sample
from evaluators.data.images import Images, load_images
from evaluators.runtimes.by_name import DEFAULT
from evaluators.runtimes.precision import Precision
from evaluators.runtimes.runtime import Exported, Runtime, load_runtime
from evaluators.worker import Studied, Supernets
from leaderboards.entry import PARENT
from leaderboards.files.export import compare, opens_in_ultralytics, save_pt
from leaderboards.run_folder import TALLY
from leaderboards.tuning.best_between import ENDS, SHARES, best_between
from leaderboards.tuning.detection import measure_detection, parent_threshold
from leaderboards.tuning.finetune import FinetuneRecipe, finetune
from leaderboards.tuning.halving import Spent
from leaderboards.tuning.rungs import RUNGS, load_rung
from spaces.bits.layer_bits import from_picks
from spaces.bits.quantized import bits_mean, plain, quantized_layers
from spaces.candidate import Candidate
from spaces.cutting.mask import mask_of
from spaces.cutting.masks import bytes_saved, share_of_zeros
from spaces.detectors.detector import save_detector
from spaces.files import write_atomic

MEASURED = "measured.json"
N_COMPARED = 4
EXACT = 1e-3  # of the largest output: nearer than that a file finds what the network does
N_LISTENED = 16  # images that layers are compared on
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
        spent: what each row has had of an epoch budget; without one, rows are fine-tuned here.
    """

    recipe: FinetuneRecipe
    qat: FinetuneRecipe
    train: tuple[Sample, ...]
    val: tuple[Sample, ...]
    folder: Path
    device: str
    runtimes: tuple[str, ...] = (DEFAULT,)
    holdout: tuple[Sample, ...] = ()
    spent: Mapping[str, Spent] = field(default_factory=dict)


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
    model, kept = _made(supernets, finishing, candidate, folder, report)
    threshold = parent_threshold(
        supernets.parent,
        finishing.val,
        finishing.folder / PARENT / THRESHOLD,
        imgsz=supernets.same.base.imgsz,
        device=finishing.device,
    )
    runtimes = [load_runtime(name) for name in finishing.runtimes]
    written = _write_files(model, folder, runtimes, candidate=candidate, studied=studied)
    val, costs = load_images(finishing.val, imgsz=studied.base.imgsz), studied.base.costs(candidate)
    measured = _measure(model, folder, val, written, device=finishing.device, threshold=threshold)
    measured |= {"gflops": 2 * costs["macs_g"], "bops_g": costs.get("bops_g")}
    measured |= _sparsity(model, size_of(folder / written[0][1].file)) if mask_of(candidate) else {}
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
    model: DetectionModel, folder: Path, runtimes: Sequence[Runtime], /, *, candidate: Candidate, studied: Studied
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
        for exported in runtime.export(model, folder, imgsz=imgsz, calibration=calibration)
    ]


@dataclass(frozen=True, eq=False)
class _Files:
    """What measures the files of one row.

    Attributes:
        threshold: the parent's.
        quality: of the row's own network.
    """

    model: DetectionModel
    folder: Path
    val: Images
    threshold: float
    quality: CocoMap

    def measured(self, written: Sequence[tuple[Runtime, Exported]]) -> list[dict[str, object]]:
        """Return what is measured of the deployed files, latency apart, the one that the row stands for first.

        The exact file of a network of few bits holds its rounded weights and not its bits, so it is none of them.
        """
        has_bits = bool(quantized_layers(self.model))
        errors = {
            runtime.name: self._error(runtime, exported)
            for runtime, exported in written
            if exported.precision is Precision.FP32
        }
        return [
            self._file(runtime, exported, error=errors.get(runtime.name))
            for runtime, exported in written
            if not (has_bits and exported.precision is Precision.FP32)
        ]

    def detection(self, found: Sequence[NDArray[np.float32]], quality: CocoMap) -> dict[str, object]:
        """Return what mAP does not tell of what one file has `found`."""
        return asdict(measure_detection(found, self.val, quality, names=self.model.names, threshold=self.threshold))

    def _error(self, runtime: Runtime, exported: Exported) -> float:
        file = runtime.open(self.folder / exported.file, threads=1)
        return compare(plain(self.model), file, next(self.val.batches(N_COMPARED)).numpy())

    def _file(self, runtime: Runtime, exported: Exported, *, error: float | None) -> dict[str, object]:
        path = self.folder / exported.file
        facts = {
            "runtime": runtime.name,
            "precision": exported.precision.value,
            "file": exported.file,
            "size_mb": size_of(path) / 1e6,
            "error": error if exported.precision is Precision.FP32 or exported.execution else None,
            "execution": exported.execution,
        }
        if exported.precision is Precision.FP32 and error is not None and error <= EXACT:
            return {**facts, "map50_95": self.quality.map50_95}  # the network's own, to float precision
        network = runtime.open(path, threads=torch.get_num_threads())
        found = [boxes for part in self.val.parts(16) for boxes in detections(network(part.tensor()), part)]
        quality = coco_map(found, self.val)
        return {**facts, "map50_95": quality.map50_95, "detection": self.detection(found, quality)}


def size_of(path: Path, /) -> int:
    """Return the bytes of a file, or of all files of a folder that counts as one."""
    return path.stat().st_size if path.is_file() else sum(part.stat().st_size for part in path.rglob("*"))


def _measure(
    model: DetectionModel,
    folder: Path,
    val: Images,
    written: Sequence[tuple[Runtime, Exported]],
    *,
    device: str,
    threshold: float,
) -> dict[str, object]:
    """Return what is measured of a row, latency apart; `threshold` is the parent's."""
    found = predict(model.to(device), val)
    model.cpu()
    save_tally(tally(found, val), folder / TALLY)
    quality = coco_map(found, val)
    files = _Files(model, folder, val, threshold, quality)
    return {
        "map50_95": quality.map50_95,
        "map50": quality.map50,
        "params_m": sum(parameter.numel() for parameter in plain(model).parameters()) / 1e6,
        "bits_mean": bits_mean(model),
        "detection": files.detection(found, quality),
        "files": files.measured(written),
        "worst_layers": _worst_layers(model, val),
    }


def _worst_layers(model: DetectionModel, val: Images) -> dict[str, float] | None:
    """Return the signal-to-noise ratio in dB of the layers whose bits cost the most; None where none has few bits."""
    if not quantized_layers(model):
        return None
    return worst_layers(model, unrounded(model), next(val.parts(N_LISTENED)))


def _sparsity(model: DetectionModel, size: int) -> dict[str, float]:
    """Return what the zeros of a masked network are, and would be, worth; its exact file has `size` bytes."""
    return {"zeros": share_of_zeros(model), "sparse_size_mb": (size - bytes_saved(model)) / 1e6}
