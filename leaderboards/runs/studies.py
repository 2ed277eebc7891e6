"""Everything that is found out before the search: backbones grafted, repeats left out, and every base studied."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import torch
from torch import Tensor
from ultralytics.nn.tasks import DetectionModel

from evaluators.data.dataset import Sample
from evaluators.data.images import Images
from evaluators.worker import Studied, Supernets
from leaderboards.recipes.parts import Bases, Making, Place
from leaderboards.runs.bases import BasePlan, calibration_images
from leaderboards.runs.problem import Inputs, Problem
from leaderboards.tuning.finetune import FinetuneRecipe
from leaderboards.tuning.graft import TUNING_LR, Report, graft_recipe, make_parent
from leaderboards.watcher import Watcher
from search.on_tune import run_trials
from spaces.bases.base import Base
from spaces.bases.depth import drop_repeats, recover_dropped_
from spaces.bases.names import SAME
from spaces.detectors.backbones.pretrained import load_pretrained
from spaces.detectors.backbones.weight_paths import read_weight_paths
from spaces.detectors.detector import load_detector
from spaces.errors import BadInput
from spaces.importance.scoring import score_channels
from spaces.networks.threads import one_thread
from spaces.study import Study, load_study, resize_study, save_study, study_parent

STUDY = "study.safetensors"


@dataclass(frozen=True, eq=False)
class _Grafts:
    """What makes a grafted parent in a worker."""

    tuning: FinetuneRecipe
    parent: DetectionModel
    samples: tuple[Sample, ...]
    folder: Path
    weights: str | None
    device: str

    def __call__(self, name: str, report: Report) -> None:
        torch.set_num_threads(1)
        make_parent(
            self.parent,
            name,
            self.samples,
            folder=self.folder / name,
            tensors=_pretrained(self.weights, name),
            grafting=graft_recipe(self.tuning, epochs=self.tuning.epochs),
            tuning=self.tuning,
            report=report,
            device=self.device,
        )


def graft_backbones(
    bases: Bases, place: Place, inputs: Inputs, /, *, tuning: FinetuneRecipe, watcher: Watcher
) -> dict[str, DetectionModel]:
    """Return the user's network with each of the other backbones, grafted, by name.

    They are kept in the run folder and made only once.

    Args:
        tuning: how rows are fine-tuned.

    Raises:
        BadInput: one of them could not be made; with its error.
    """
    folder = (place.folder / "bases").resolve()
    names = [name for name in bases.backbones if name != SAME]
    missing = [name for name in names if not (folder / name / "architecture.json").exists()]
    if missing:
        watcher.stage(f"grafting {', '.join(missing)}: {bases.graft_epochs} epochs without labels, then as many with")
        own = replace(tuning, epochs=bases.graft_epochs, lr=TUNING_LR, freezes_bn=False)
        task = _Grafts(own, inputs.parent, inputs.dataset.train, folder, bases.weights, place.worker_device)
        errors = run_trials(
            task,
            missing,
            workers=place.workers,
            storage=place.folder.resolve(),
            on_report=watcher.on_epoch,
            gpus=place.gpus_a_worker,
        )
        if failed := next((name for name in missing if errors[name]), None):
            raise BadInput(f"backbones: {failed} could not be grafted: {errors[failed]}")
    return {name: load_detector(folder / name)[0] for name in names}


def make_supernets(
    making: Making,
    problem: Problem,
    /,
    *,
    grafted: Mapping[str, DetectionModel] | None = None,
    folder: Path | None = None,
) -> Supernets:
    """Return what workers build candidates with; its calibration images are of train, outside the hold-out.

    Args:
        grafted: the networks with other backbones, by name.
        folder: where the studies of the bases are read from, or written to if they are not there yet: a resumed
            search must not depend on how this machine rounds.

    Raises:
        BadInput: a parent computes NaN or infinity on the calibration images.
    """
    whole = {SAME: problem.inputs.parent, **(grafted or {})}

    @cache
    def images(imgsz: int) -> Images:
        return calibration_images(problem.inputs.holdout, making.calibration_images, seed=making.seed, imgsz=imgsz)

    studied: dict[str, Studied] = {}
    for plan in problem.plans:
        base = problem.bases[str(plan.name)]
        calibration = images(base.imgsz)
        network = whole[plan.name.backbone]
        if plan.dropped:
            network = _shallow(plan, network, calibration.tensor(), studied[str(replace(plan.name, dropped=0))].study)
        base, larger = replace(base, network=network), studied.get(str(replace(plan.name, imgsz=None)))
        if plan.name.imgsz is None or larger is None:
            study = study_base(making, base, calibration.tensor(), weights=problem.inputs.weights, folder=folder)
        else:
            study = resize_study(larger.study, network, before=larger.base.imgsz, after=base.imgsz)
        studied[base.name] = Studied(base, calibration, study)
    return Supernets(
        problem.inputs.parent, studied, making.recovery, precision=making.dtype, device=problem.inputs.device
    )


def _shallow(plan: BasePlan, network: DetectionModel, images: Tensor, study: Study) -> DetectionModel:
    """Return `network` without the repeats that `plan` leaves out, brought as near to it as least squares can."""
    shallow = drop_repeats(network, plan.dropped)
    places = {name: torch.from_numpy(index) for name, index in study.places.items()}
    with one_thread():
        recover_dropped_(shallow, network, plan.dropped, images=images, places=places)
    return shallow


def study_base(making: Making, base: Base, images: Tensor, /, *, weights: str, folder: Path | None) -> Study:
    """Return the study of `base` on `images`, as `folder` keeps it; of scores alone if nothing of the run reads more.

    Args:
        weights: what the user calls the weights that its network began with.

    Raises:
        BadInput: its network computes NaN or infinity.
    """
    if not making.needs_losses:
        scores = score_channels(base.network, base.graph, images, importance=making.importance, seed=making.seed)
        return Study(scores, losses=(), places={}, sensitivity={})
    path = None if folder is None else _path(folder, base.name)
    study = None if path is None else load_study(path, base.graph, table=base.table)
    if study is None:
        study = _study_network(making, base, images, weights=weights)
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
            save_study(study, path)
    return study


def _study_network(making: Making, base: Base, images: Tensor, *, weights: str) -> Study:
    try:
        return study_parent(
            base.network, base.graph, images, importance=making.importance, seed=making.seed, table=base.table
        )
    except FloatingPointError as error:
        of_base = "" if base.name == SAME else f" as base {base.name}"
        raise BadInput(f"weights {weights!r} fail on the calibration images{of_base}: {error}") from error


def _path(folder: Path, base: str) -> Path:
    return folder / STUDY if base == SAME else folder / "bases" / f"{base}.{STUDY}"


def _pretrained(weights: str | None, name: str) -> Mapping[str, Tensor] | None:
    if weights is None:
        return None
    paths = read_weight_paths(weights)
    return load_pretrained(name, paths[name]) if name in paths else None
