"""What a worker process does: the search's measurements, and the making of one row from candidate to files."""

import copy
import json
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, lru_cache
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from ultralytics.nn.tasks import DetectionModel

from evaluators.budget import Budget
from evaluators.dataset import Sample
from evaluators.detection import coco_map, detections, predict
from evaluators.device_file import DeviceFile
from evaluators.images import Images, load_images
from evaluators.latency import measure_latency
from evaluators.measure import Evaluator, Measure
from evaluators.metric import MAP
from evaluators.proxies import evaluator_of
from leaderboards.entry import PARENT
from leaderboards.export import OnnxDetector, compare, export_int8, export_onnx, opens_in_ultralytics, save_pt
from leaderboards.finetune import FinetuneRecipe, finetune
from spaces.base import SAME, Base
from spaces.build import Builder, Recovery, Subnet
from spaces.candidate import Candidate
from spaces.detector import save_detector
from spaces.files import write_atomic
from spaces.precision import Precision
from spaces.study import Study

MEASURED = "measured.json"
N_BUILDERS = (
    8  # that a worker keeps, one for each base: each holds its calibration images and what its parent makes of them
)
N_COMPARED = 4


@dataclass(frozen=True, eq=False)
class Studied:
    """A base and what is known of it.

    Attributes:
        calibration: images of train, for BatchNorm, reconstruction and INT8 ranges.
    """

    base: Base
    calibration: Images
    study: Study

    def builder(self, device: str, *, precision: Precision = Precision.FLOAT32) -> Builder:
        """Return what makes a network of a candidate, on `device`."""
        network = copy.deepcopy(self.base.network).to(device)
        images = self.calibration.tensor().to(device)
        return Builder(network, self.base.graph, self.base.space, images=images, study=self.study, precision=precision)


@dataclass(frozen=True, eq=False)
class Workshop:
    """Everything a worker needs to build candidates; it travels to each worker once.

    Attributes:
        parent: the user's own network, which teaches all others.
        bases: by name.
        precision: of the passes that rank candidates; rows are made and measured in float32.
        device: what predicts latencies; without it a limited latency is measured.
    """

    parent: DetectionModel
    bases: Mapping[str, Studied]
    recovery: Recovery
    precision: Precision = Precision.FLOAT32
    device: DeviceFile | None = None

    @property
    def same(self) -> Studied:
        """The user's own network."""
        return self.bases[SAME]

    def of(self, candidate: Candidate, /) -> Studied:
        """Return the base that `candidate` is cut from."""
        return self.bases[candidate.base]

    def costs(self, candidate: Candidate, /) -> dict[str, float]:
        """Return the arithmetic costs of `candidate`."""
        return self.of(candidate).base.space.costs(candidate)


@dataclass(frozen=True, eq=False)
class Finishing:
    """How rows are finished, the same for each of them.

    Attributes:
        train: what fine-tuning reads.
        val: the sealed split; only a finished row is measured on it.
        folder: the rows' files go to `folder/<id>/`.
    """

    recipe: FinetuneRecipe
    train: tuple[Sample, ...]
    val: tuple[Sample, ...]
    folder: Path
    device: str


def make_measure(
    workshop: Workshop, search: Sequence[Sample], budget: Budget, /, *, device: str, proxy: str = MAP.name
) -> Measure:
    """Return what measures candidates in one worker: the proxy on the hold-out, latency if it is limited.

    One thread, whatever the machine has: the readings then do not depend on how many workers share it.

    Args:
        search: the hold-out; it is decoded for each image size that a candidate asks for.
    """
    torch.set_num_threads(1)
    gates: tuple[Evaluator, ...] = ()
    if workshop.device is not None:
        gates = (_predicted_latency(workshop.same.base, workshop.device),)
    elif "latency_ms" in budget.limits:
        gates = (_onnx_latency(workshop),)

    @lru_cache(maxsize=N_BUILDERS)
    def builder(base: str) -> Builder:
        return workshop.bases[base].builder(device, precision=workshop.precision)

    @cache
    def evaluator(imgsz: int) -> Evaluator:
        return evaluator_of(proxy, load_images(search, imgsz=imgsz), workshop.recovery)

    return Measure(
        workshop.costs,
        lambda candidate: Subnet(candidate, builder(candidate.base)),
        budget=budget,
        gates=gates,
        evaluators=(lambda subnet: evaluator(workshop.of(subnet.candidate).base.imgsz)(subnet),),
    )


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
    recipe = replace(finishing.recipe, imgsz=studied.base.imgsz)
    model = studied.builder(finishing.device)(candidate, workshop.recovery)
    is_parent = row == PARENT
    if not is_parent and finishing.recipe.epochs > 0:
        checkpoint = folder / "finetune.pt"
        model = finetune(
            model,
            workshop.parent,
            finishing.train,
            recipe=recipe,
            checkpoint=checkpoint,
            report=report,
            device=finishing.device,
        )
    measured = _write_files(model, folder, candidate=candidate, studied=studied, finishing=finishing)
    measured["epochs"] = 0 if is_parent else finishing.recipe.epochs
    measured["seconds"] = time.monotonic() - started
    write_atomic(folder / MEASURED, json.dumps(measured))
    (folder / "finetune.pt").unlink(missing_ok=True)


def _write_files(
    model: DetectionModel, folder: Path, *, candidate: Candidate, studied: Studied, finishing: Finishing
) -> dict[str, float]:
    """Write every file of a row and return what was measured of them, latency apart."""
    imgsz = studied.base.imgsz
    save_detector(model, folder, candidate=candidate)
    if opens_in_ultralytics(model):
        save_pt(model, folder / "model.pt", imgsz=imgsz)
    onnx = export_onnx(model, folder / "model.onnx", imgsz=imgsz)
    int8 = export_int8(onnx, folder / "model_int8.onnx", [batch.numpy() for batch in studied.calibration.batches(16)])
    val = load_images(finishing.val, imgsz=imgsz)
    quality = coco_map(predict(model.to(finishing.device), val), val)
    model.cpu()
    int8_quality = coco_map(_predict_onnx(int8, val), val)
    costs = studied.base.space.costs(candidate)
    return {
        "map50_95": quality.map50_95,
        "map50": quality.map50,
        "gflops": 2 * costs["macs_g"],
        "params_m": sum(parameter.numel() for parameter in model.parameters()) / 1e6,
        "size_mb": onnx.stat().st_size / 1e6,
        "int8_map50_95": int8_quality.map50_95,
        "int8_size_mb": int8.stat().st_size / 1e6,
        "onnx_error": compare(model, onnx, next(val.batches(N_COMPARED)).numpy()),
        "bits_mean": 32.0,
    }


def _predict_onnx(path: Path, images: Images) -> list[NDArray[np.float32]]:
    network = OnnxDetector(path, threads=torch.get_num_threads())
    return [found for part in images.parts(16) for found in detections(network(part.tensor()), part)]


def _predicted_latency(base: Base, device: DeviceFile) -> Evaluator:
    """Return the evaluator of the latencies that `device` predicts, which builds nothing."""
    predict_latency = device.latency(base.space, base.graph)
    return lambda subnet: predict_latency([subnet.candidate])[0]


def _onnx_latency(workshop: Workshop) -> Evaluator:
    """Return the evaluator of the median ONNX Runtime latency on one thread."""

    def evaluate(subnet: Subnet) -> dict[str, float]:
        imgsz = workshop.of(subnet.candidate).base.imgsz
        with tempfile.TemporaryDirectory() as folder:
            path = export_onnx(subnet.network(Recovery.NOTHING), Path(folder) / "candidate.onnx", imgsz=imgsz)
            return {"latency_ms": measure_latency(path, threads=1, max_seconds=0.5).median_ms}

    return evaluate
