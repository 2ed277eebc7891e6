"""Grafting: a new backbone learns to make the features that the neck of its parent was trained on.

Its teacher is the parent's own backbone, so no labels are needed and neck and head wait untouched; what they then
cannot make good, a short fine-tuning does. The result is a parent like any other.
"""

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import fields
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from ultralytics.nn.tasks import DetectionModel

from evaluators.data.dataset import Sample
from evaluators.data.images import load_images
from leaderboards.tuning.finetune import FinetuneRecipe, finetune
from leaderboards.tuning.training import Lesson, TrainingRecipe, train
from spaces.candidate import Candidate
from spaces.detectors.backbones.swap import Backbone, swap_backbone
from spaces.detectors.detector import load_detector, save_detector
from spaces.networks.folding import fold_bn
from spaces.recovery.calibration import calibrate_bn_

N_IMAGES = 64  # that the variance of the parent's channels is taken from
LR = 3e-3  # from scratch: after 256 steps of ghostnet on digits the loss is 4.3 where 1e-3 leaves 5.0
TUNING_LR = 3e-3
"""Of the fine-tuning after it, far from its end: .53 on hold-out where 1e-3 leaves .40 (docs/results.md)."""
FLOOR = 0.01  # of the mean variance of a level: a channel that is nearly dead must not outweigh the others
BATCH = 8
N_STATISTICS = 256  # images; the moving average of a young P5 leaves an error of 4.3 where 0.9 is there to be had

Report = Callable[[Mapping[str, float]], None]


def make_parent(
    parent: DetectionModel,
    name: str,
    samples: Sequence[Sample],
    *,
    folder: Path,
    tensors: Mapping[str, Tensor] | None,
    grafting: TrainingRecipe,
    tuning: FinetuneRecipe,
    report: Report,
    device: str,
) -> DetectionModel:
    """Return `parent` with the backbone called `name`, grafted and fine-tuned, as `folder` then holds it.

    A call that was stopped goes on from the last finished epoch, and one that was not reads what is there; the
    folder is of one parent, one data set and one pair of recipes.

    Args:
        tensors: pretrained ones of the backbone; None draws them.
        report: as of `train`, for the epochs of both.

    Raises:
        BadInput: there is no such backbone, or the parent cannot take one.
        FloatingPointError: a loss is no longer finite.
    """
    if not (folder / "architecture.json").exists():
        folder.mkdir(parents=True, exist_ok=True)
        grafted = graft(
            swap_backbone(parent, name, tensors, seed=grafting.seed),
            parent,
            samples,
            recipe=grafting,
            checkpoint=folder / "graft.pt",
            report=report,
            device=device,
        )
        tuned = finetune(
            grafted, parent, samples, recipe=tuning, checkpoint=folder / "finetune.pt", report=report, device=device
        )
        save_detector(tuned, folder, candidate=Candidate("same", ()))
        for checkpoint in ("graft.pt", "finetune.pt"):
            (folder / checkpoint).unlink(missing_ok=True)
    return load_detector(folder)[0]


def graft_recipe(tuning: FinetuneRecipe, /, *, epochs: int) -> TrainingRecipe:
    """Return how a backbone is grafted in a run that fine-tunes by `tuning`: on the same images, from scratch."""
    shared = {field.name: getattr(tuning, field.name) for field in fields(TrainingRecipe)}
    return TrainingRecipe(**{**shared, "epochs": epochs, "lr": LR, "freezes_bn": False})


def graft(
    swapped: DetectionModel,
    parent: DetectionModel,
    samples: Sequence[Sample],
    *,
    recipe: TrainingRecipe,
    checkpoint: Path,
    report: Report,
    device: str,
) -> DetectionModel:
    """Return a copy of `swapped` whose backbone makes what that of `parent` makes, as nearly as it can learn to.

    Only the backbone is trained, pooling and attention at its end included; the labels of `samples` are not read.
    Resumes, reports and raises as `train` does; the parts of the loss are `p3_loss`, `p4_loss` and `p5_loss`.
    """
    teacher = Backbone(fold_bn(copy.deepcopy(parent).float().to(device))).to(memory_format=torch.channels_last)
    scales = _variances(teacher, samples, imgsz=recipe.imgsz, seed=recipe.seed, device=device)

    def lesson(student: Backbone) -> Lesson:
        return _Features(student, teacher, scales)

    grafted = copy.deepcopy(swapped).eval()
    backbone = train(
        Backbone(grafted), samples, lesson, recipe=recipe, checkpoint=checkpoint, report=report, device=device
    )
    if recipe.epochs:
        calibrate_bn_(backbone, _images(samples, N_STATISTICS, imgsz=recipe.imgsz, seed=recipe.seed))
    for number, layer in enumerate(backbone.layers):
        grafted.model[number] = layer
    return grafted


class _Features:
    """The squared error of each feature, in units of the variance of each of the parent's channels."""

    def __init__(self, student: Backbone, teacher: Backbone, scales: Sequence[Tensor]) -> None:
        self._student = student
        self._teacher = teacher
        self._scales = scales

    def __call__(self, images: Tensor, _: Mapping[str, Tensor], /) -> dict[str, Tensor]:
        """Return the loss of each level: 0 of equal features, 1 of those that are always the mean."""
        with torch.no_grad():
            wanted = self._teacher(images)
        made = self._student(images)
        errors = [(a - b).square().mean((0, 2, 3)) for a, b in zip(made, wanted, strict=True)]  # (C,) each
        return {
            f"p{level}_loss": (error / scale).mean()
            for level, error, scale in zip((3, 4, 5), errors, self._scales, strict=True)
        }

    def end_epoch_(self) -> None:
        """Change nothing: all epochs are alike."""


def _images(samples: Sequence[Sample], n: int, *, imgsz: int, seed: int) -> Iterator[Tensor]:
    """Yield batches of up to `n` of `samples`."""
    order = np.random.default_rng([seed, 2]).permutation(len(samples))[:n]
    return load_images([samples[index] for index in order], imgsz=imgsz).batches(BATCH)


@torch.no_grad()
def _variances(
    teacher: Backbone, samples: Sequence[Sample], *, imgsz: int, seed: int, device: str
) -> tuple[Tensor, ...]:
    """Return the variance of each channel of each feature over some of `samples`, (C,) each, none next to zero."""
    features = [teacher(batch.to(device)) for batch in _images(samples, N_IMAGES, imgsz=imgsz, seed=seed)]
    scales = []
    for level in zip(*features, strict=True):
        variance = torch.cat([feature.transpose(0, 1).flatten(1) for feature in level], 1).var(1)
        scales.append(variance.clamp_min(FLOOR * float(variance.mean())))
    return tuple(scales)
