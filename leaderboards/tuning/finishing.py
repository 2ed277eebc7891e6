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
from evaluators.accuracy.detection import coco_map, detections, predict
from evaluators.accuracy.layer_noise import unrounded, worst_layers
from evaluators.accuracy.resampled_map import save_tally
from evaluators.data.dataset import Sample
from evaluators.data.images import Images, load_images
from evaluators.runtimes.onnx_runtime import OnnxDetector, export_int8, export_onnx
from evaluators.worker import Studied, Workshop
from leaderboards.choice import FILES, Precision
from leaderboards.entry import PARENT
from leaderboards.files.export import compare, opens_in_ultralytics, save_pt
from leaderboards.files.quantized_export import export_quantized
from leaderboards.run_folder import TALLY
from leaderboards.tuning.finetune import FinetuneRecipe, finetune
from leaderboards.tuning.heats import HEATS, load_heat
from leaderboards.tuning.judgement import judge, parent_threshold
from leaderboards.tuning.purse import Spent
from spaces.bits.layer_bits import from_picks
from spaces.bits.quantized import bits_mean, plain, quantized_layers
from spaces.candidate import Candidate
from spaces.cutting.masks import bytes_saved, mask_of, share_of_zeros
from spaces.detectors.detector import save_detector
from spaces.files import write_atomic

MEASURED = "measured.json"
FP32, INT8 = FILES[Precision.FP32], FILES[Precision.INT8]
N_COMPARED = 4
N_LISTENED = 16  # images that layers are compared on
THRESHOLD = "threshold.json"
STAGES = ("finetune.pt", "qat.pt")  # the checkpoints of a row that is not finished


@dataclass(frozen=True, eq=False)
class Finishing:
    """How rows are finished, the same for each of them.

    Attributes:
        qat: how a row that has bits is trained on them afterwards.
        train: what fine-tuning reads.
        val: the sealed split; only a finished row is measured on it.
        folder: the rows' files go to `folder/<id>/`.
        spent: what each row has had of the purse; without one, rows are fine-tuned here.
    """

    recipe: FinetuneRecipe
    qat: FinetuneRecipe
    train: tuple[Sample, ...]
    val: tuple[Sample, ...]
    folder: Path
    device: str
    spent: Mapping[str, Spent] = field(default_factory=dict)


def finish_row(
    workshop: Workshop,
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
    studied = workshop.of(candidate)
    if row == PARENT:
        finishing = replace(finishing, recipe=replace(finishing.recipe, epochs=0))
    model = _made(workshop, finishing, candidate, folder, report)
    threshold = parent_threshold(
        workshop.parent,
        finishing.val,
        finishing.folder / PARENT / THRESHOLD,
        imgsz=workshop.same.base.imgsz,
        device=finishing.device,
    )
    execution = _write_files(model, folder, candidate=candidate, studied=studied)
    val, costs = load_images(finishing.val, imgsz=studied.base.imgsz), studied.base.costs(candidate)
    measured = _measure_files(model, folder, val, device=finishing.device, threshold=threshold, execution=execution)
    measured |= {"gflops": 2 * costs["macs_g"], "bops_g": costs.get("bops_g")}
    measured |= _sparsity(model, folder / FP32) if mask_of(candidate) else {}
    spent = finishing.spent.get(row, Spent(0, finishing.recipe.epochs, 0.0))
    measured["epochs"] = spent.epochs
    measured["seconds"] = spent.seconds + time.monotonic() - started
    write_atomic(folder / MEASURED, json.dumps(measured))
    for stage in STAGES:
        (folder / stage).unlink(missing_ok=True)
    shutil.rmtree(folder / HEATS, ignore_errors=True)


def _made(
    workshop: Workshop,
    finishing: Finishing,
    candidate: Candidate,
    folder: Path,
    report: Callable[[Mapping[str, float]], None],
) -> DetectionModel:
    """Return the network of `candidate`, fine-tuned in float and then, if it has bits, on these."""
    studied = workshop.of(candidate)
    builder = studied.builder(finishing.device)
    imgsz, is_masked = studied.base.imgsz, mask_of(candidate) is not None
    tune = partial(_tuned, workshop.parent, finishing, imgsz=imgsz, keep_zeros=is_masked, report=report)
    finetuning, qat = (folder / stage for stage in STAGES)
    if had := finishing.spent.get(folder.name):
        model = load_heat(folder, had.heat)
    else:
        model = tune(builder.float_network(candidate, workshop.recovery), finishing.recipe, checkpoint=finetuning)
    allocation = from_picks(candidate.picks)
    if not allocation:
        return model
    rounded = builder.quantized(model.to(finishing.device), allocation, n_images=len(studied.calibration))
    return tune(rounded, finishing.qat, checkpoint=qat)


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


def _write_files(model: DetectionModel, folder: Path, /, *, candidate: Candidate, studied: Studied) -> str | None:
    """Write every file of a row; return how its INT8 file is computed if the row has bits."""
    imgsz = studied.base.imgsz
    save_detector(model, folder, candidate=candidate)
    unbound = plain(model)  # its weights lie on their grids, what it reads is float
    if opens_in_ultralytics(model):
        save_pt(unbound, folder / "model.pt", imgsz=imgsz)
    onnx = export_onnx(unbound, folder / FP32, imgsz=imgsz)
    return _write_int8(model, onnx, folder / INT8, [batch.numpy() for batch in studied.calibration.batches(16)])


def _measure_files(
    model: DetectionModel, folder: Path, val: Images, /, *, device: str, threshold: float, execution: str | None
) -> dict[str, object]:
    """Return what is measured of the files of a row, latency apart; `threshold` is the parent's."""
    found = predict(model.to(device), val)
    model.cpu()
    int8_found = _predict_onnx(folder / INT8, val)
    save_tally(tally(found, val), folder / TALLY)
    quality, int8_quality = coco_map(found, val), coco_map(int8_found, val)
    unbound = plain(model)
    deployed = folder / (FP32 if execution is None else INT8)
    return {
        "map50_95": quality.map50_95,
        "map50": quality.map50,
        "params_m": sum(parameter.numel() for parameter in unbound.parameters()) / 1e6,
        "size_mb": deployed.stat().st_size / 1e6,
        "int8_map50_95": int8_quality.map50_95,
        "int8_size_mb": (folder / INT8).stat().st_size / 1e6,
        "onnx_error": compare(unbound, folder / FP32, next(val.batches(N_COMPARED)).numpy()),
        "bits_mean": bits_mean(model),
        "judged": asdict(judge(found, val, quality, names=model.names, threshold=threshold)),
        "int8_judged": asdict(judge(int8_found, val, int8_quality, names=model.names, threshold=threshold)),
        "int8_execution": execution,
        "worst_layers": _worst_layers(model, val),
    }


def _write_int8(
    model: DetectionModel, onnx: Path, path: Path, calibration: Sequence[NDArray[np.float32]]
) -> str | None:
    """Write the INT8 file of a row: of its own integers if it has bits, and then return how these are computed."""
    if not quantized_layers(model):
        export_int8(onnx, path, calibration)
        return None
    return export_quantized(model, onnx, path, calibration=calibration).sentence()


def _worst_layers(model: DetectionModel, val: Images) -> dict[str, float] | None:
    """Return the signal-to-noise ratio in dB of the layers whose bits cost the most; None where none has few bits."""
    if not quantized_layers(model):
        return None
    return worst_layers(model, unrounded(model), next(val.parts(N_LISTENED)))


def _sparsity(model: DetectionModel, onnx: Path) -> dict[str, float]:
    """Return what the zeros of a masked network are, and would be, worth."""
    sparse_size = onnx.stat().st_size - bytes_saved(model)
    return {"zeros": share_of_zeros(model), "sparse_size_mb": sparse_size / 1e6}


def _predict_onnx(path: Path, images: Images) -> list[NDArray[np.float32]]:
    network = OnnxDetector(path, threads=torch.get_num_threads())
    return [found for part in images.parts(16) for found in detections(network(part.tensor()), part)]
