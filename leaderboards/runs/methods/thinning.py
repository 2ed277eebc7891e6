"""Training for sparsity: the run's fine-tuning with an L1 term on all BatchNorm scales, in a folder of its own.

The term is a part of the loss. Its gradient is the published sub-gradient, coefficient x sign(scale), and as a part it
is reported, clipped with the rest and seen by AdamW; the published codes add it to gradients behind the back of their
mixed-precision scaler, which divides it by up to 65,536.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from ultralytics.nn.tasks import DetectionModel

from evaluators.data.dataset import Sample
from leaderboards.tuning.finetune import FinetuneRecipe, TaskLesson
from leaderboards.tuning.training import train
from search.methods.pruned_yolo import MASK_FACTOR, coefficient, is_masked, mask_threshold
from spaces.bases.names import SAME
from spaces.candidate import Candidate
from spaces.detectors.detector import load_detector, save_detector

Report = Callable[[Mapping[str, float]], None]


@dataclass(frozen=True)
class StageRecipe(FinetuneRecipe):
    """How a method trains between its cuts.

    Attributes:
        sparsity: the coefficient of the sum of all absolute BatchNorm scales in the loss of an image; 0 for none.
        is_eased: whether the coefficient falls and weak channels fade, as in Pruned-YOLO.
    """

    sparsity: float = 0.0
    is_eased: bool = False


def make_stage(
    network: DetectionModel,
    parent: DetectionModel,
    samples: Sequence[Sample],
    *,
    folder: Path,
    recipe: StageRecipe,
    report: Report,
    device: str,
) -> DetectionModel:
    """Return `network` trained by `recipe`, with `parent` as the teacher, as `folder` then holds it.

    A call that was stopped goes on from the last finished epoch, and one that was not reads what is there; raises and
    reports as `train` does.
    """
    if not (folder / "architecture.json").exists():
        folder.mkdir(parents=True, exist_ok=True)
        trained = train(
            network,
            samples,
            lambda student: SparseLesson(student, parent, recipe),
            recipe=recipe,
            checkpoint=folder / "training.pt",
            report=report,
            device=device,
        )
        save_detector(trained, folder, candidate=Candidate(SAME, ()))
        (folder / "training.pt").unlink(missing_ok=True)
    return load_detector(folder)[0]


class SparseLesson:
    """What fine-tuning teaches, and that few BatchNorm scales should do."""

    def __init__(self, student: DetectionModel, parent: DetectionModel, recipe: StageRecipe) -> None:
        self._task = TaskLesson(student, parent, recipe)
        self._norms = [layer for layer in student.modules() if isinstance(layer, nn.BatchNorm2d)]
        self._recipe = recipe
        self._epoch = 0
        self._is_due = False

    def __call__(self, images: Tensor, targets: Mapping[str, Tensor], /) -> dict[str, Tensor]:
        """Return the parts of the loss; before the first batch of some epochs weak channels fade.

        They do so here and not at an epoch's end: a training that goes on from a checkpoint then fades them once too.
        """
        if self._is_due:
            fade_(self._norms)
            self._is_due = False
        parts = self._task(images, targets)
        if self._recipe.sparsity == 0:
            return parts
        scales = torch.stack([norm.weight.abs().sum() for norm in self._norms]).sum()
        return {**parts, "sparsity_loss": self._coefficient() * scales}

    def end_epoch_(self) -> None:
        """Go on to the next coefficient."""
        self._task.end_epoch_()
        self._epoch += 1
        self._is_due = self._recipe.is_eased and is_masked(self._epoch)

    def _coefficient(self) -> float:
        if not self._recipe.is_eased:
            return self._recipe.sparsity
        return coefficient(self._recipe.sparsity, epoch=self._epoch, epochs=self._recipe.epochs)


@torch.no_grad()
def fade_(norms: Sequence[nn.BatchNorm2d], /) -> None:
    """Multiply the scale, shift, mean and variance of the weak channels of `norms` by 0.1; they may grow again.

    Source: Pruned-YOLO's soft mask.
    """
    threshold = mask_threshold(float(torch.cat([norm.weight.abs() for norm in norms]).mean()))
    for norm in norms:
        factor = torch.where(norm.weight.abs() <= threshold, MASK_FACTOR, 1.0)
        for values in (norm.weight, norm.bias, norm.running_mean, norm.running_var):
            assert values is not None  # a detector's BatchNorm tracks its statistics
            values.mul_(factor)
