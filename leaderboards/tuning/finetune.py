"""Fine-tuning of a cut network: Ultralytics' criterion, and the parent as the teacher."""

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from ultralytics.nn.tasks import DetectionModel
from ultralytics.utils import DEFAULT_CFG_DICT, IterableSimpleNamespace

from evaluators.data.dataset import Sample
from evaluators.proxies.distill import distillation_loss
from leaderboards.recipes.parts import Tuning
from leaderboards.tuning.training import TrainingRecipe, train
from spaces.cutting.masks import hold_zeros_

HIGHEST_LR = 1e-3  # more is too hot for the few epochs of a network that works already


@dataclass(frozen=True)
class FinetuneRecipe(TrainingRecipe):
    """How every network of a run is fine-tuned.

    Attributes:
        distill: weight of the parent's part of the loss; 0 leaves the parent out.
        reads_labels: whether the task's own loss is learned too; without, no label is read.
        keep_zeros: whether weights that are zero stay so, as those of a masked network must.
    """

    distill: float = 2.0
    reads_labels: bool = True
    keep_zeros: bool = False


def default_lr(n_classes: int, /) -> float:
    """Return the learning rate of AdamW that suits detectors of so many classes, at most 1e-3.

    Source: Ultralytics' trainer, optimizer=auto: 0.002 x 5 / (4 + classes), 1.2e-4 for COCO's 80.
    """
    return min(HIGHEST_LR, round(0.01 / (4 + n_classes), 6))


def finetune_recipe(tuning: Tuning, /, *, n_classes: int) -> FinetuneRecipe:
    """Return how every row of a run is fine-tuned.

    Rows come with BatchNorm statistics of calibration images. A gentle training keeps them, as those of small batches
    are worse; at the highest rate, where weights move far, they have to follow (docs/results.md).
    """
    lr = default_lr(n_classes) if tuning.lr is None else tuning.lr
    return FinetuneRecipe(
        epochs=tuning.epochs,
        imgsz=tuning.imgsz,
        batch=tuning.batch,
        lr=lr,
        distill=tuning.distill,
        reads_labels=tuning.reads_labels,
        flip=tuning.flip,
        mosaic=tuning.mosaic,
        seed=tuning.seed,
        freezes_bn=lr < HIGHEST_LR,
    )


def finetune(
    student: DetectionModel,
    parent: DetectionModel,
    samples: Sequence[Sample],
    *,
    recipe: FinetuneRecipe,
    checkpoint: Path,
    report: Callable[[Mapping[str, float]], None],
    device: str,
) -> DetectionModel:
    """Return `student` fine-tuned; raises, resumes from `checkpoint` and reports as `train` does.

    The parts of the loss that are reported are `task_loss` and `distill_loss`. `parent` is left as it is.
    """
    return train(
        student,
        samples,
        lambda copied: TaskLesson(copied, parent, recipe),
        recipe=recipe,
        checkpoint=checkpoint,
        report=report,
        device=device,
    )


class TaskLesson:
    """The task's loss and the parent's, of one batch."""

    def __init__(self, student: DetectionModel, parent: DetectionModel, recipe: FinetuneRecipe) -> None:
        student.args = IterableSimpleNamespace(**{**DEFAULT_CFG_DICT, "epochs": recipe.epochs})
        if recipe.keep_zeros:
            hold_zeros_(student)
        self._student = student
        self._criterion = student.init_criterion()
        self._weight = recipe.distill
        self._reads_labels = recipe.reads_labels
        self._teacher = _teacher(parent, next(student.parameters()).device) if recipe.distill > 0 else None

    def __call__(self, images: Tensor, targets: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the task's loss per image and the weighted loss to the parent."""
        raw = self._student(images)
        task = self._criterion(raw, targets)[0].sum() / len(images) if self._reads_labels else images.new_zeros(())
        if self._teacher is None:
            return {"task_loss": task, "distill_loss": torch.zeros_like(task)}
        with torch.no_grad():
            taught = self._teacher(images)[1]
        distilled = self._weight * distillation_loss(_dense(raw), _dense(taught))
        return {"task_loss": task, "distill_loss": distilled}

    def end_epoch_(self) -> None:
        """Shift the weight from the one-to-many to the one-to-one head, in networks that have both."""
        if hasattr(self._criterion, "update"):
            self._criterion.update()


def _teacher(parent: DetectionModel, device: torch.device) -> DetectionModel:
    """Return a copy of `parent` for inference, its BatchNorm folded in.

    A head with two branches stays unfolded: folding would remove the one that is distilled.
    """
    teacher = copy.deepcopy(parent).float().eval()
    if getattr(teacher.model[-1], "one2one_cv2", None) is None:
        teacher.fuse(verbose=False)
    return teacher.to(device, memory_format=torch.channels_last)


def _dense(raw: Mapping[str, Tensor] | Mapping[str, Mapping[str, Tensor]]) -> Mapping[str, Tensor]:
    """Return the raw outputs of the branch that matches many anchors to an object."""
    if "one2many" in raw:
        return raw["one2many"]  # type: ignore[return-value]
    return raw  # type: ignore[return-value]
