"""Fine-tuning of a cut network: ultralytics' criterion and averaging in a loop of our own.

Ultralytics' trainer rebuilds the network from its YAML, which silently undoes the cut, writes into the data folder,
and picks its best epoch on the sealed split. This loop trains exactly the tensors it was given, reads nothing but
the samples, picks nothing, and returns the averaged weights of the last epoch.
"""

import copy
import hashlib
import io
import logging
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from ultralytics.nn.tasks import DetectionModel
from ultralytics.utils import DEFAULT_CFG_DICT, IterableSimpleNamespace
from ultralytics.utils.torch_utils import ModelEMA

from evaluators.dataset import Sample
from evaluators.distill import distillation_loss
from leaderboards.training_data import Batch, TrainingSet, epoch_batches, n_batches
from spaces.files import write_atomic

LOG = logging.getLogger(__name__)
WARM_UP = 0.3  # of the first epoch
LAST_LR = 0.01  # of the highest
BN_MOMENTUM = 0.1  # ultralytics' 0.03 leaves 38 % of the old statistics after 32 steps
MAX_NORM = 10.0  # of the gradient of the loss per image
AVERAGED = 0.05  # the share of all steps that the moving average spans

Shapes = dict[str, tuple[int, ...]]


@dataclass(frozen=True)
class FinetuneRecipe:
    """How every network of a run is fine-tuned; the defaults suit 1 to 20 epochs from a working detector.

    Attributes:
        imgsz: side of the square input in pixels.
        lr: the highest learning rate of AdamW, reached after the warm-up.
        weight_decay: of convolution and linear weights only.
        distill: weight of the parent's part of the loss; 0 leaves the parent out.
        flip: probability of mirroring; 0 where a mirror image is another class, as with digits.
        mosaic: probability of a mosaic of four images.
    """

    epochs: int
    imgsz: int
    batch: int = 8
    lr: float = 1e-3
    weight_decay: float = 5e-4
    distill: float = 2.0
    flip: float = 0.5
    mosaic: float = 0.0
    seed: int = 0


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
    """Return `student` fine-tuned: averaged weights, float32, eval mode, on the CPU, every shape as it came.

    `checkpoint` is written whole after every epoch. If it is there already, a run of the same recipe goes on from it
    and ends as if it had never stopped; if it is of no use, it is overwritten and the reason is logged.
    `report` is called after every epoch with `epoch` (from 1), `loss`, `task_loss`, `distill_loss` (means per step)
    and `seconds`; what it raises ends the fine-tuning. `student` and `parent` are left as they are.

    Raises:
        BadInput: an image can no longer be read.
        FloatingPointError: the loss or its gradient is no longer finite; names the epoch and the step.
    """
    shapes = _shapes(student)
    data = TrainingSet(samples, imgsz=recipe.imgsz)
    tuning = _Tuning(student, recipe, n_steps=n_batches(len(data), recipe.batch) * recipe.epochs, device=device)
    if checkpoint.exists() and (reason := tuning.resume_(checkpoint)):
        LOG.warning("fine-tuning starts again from the beginning: %s %s", checkpoint, reason)
    loss = _Loss(tuning.student, parent, recipe)
    for epoch in range(recipe.epochs):
        if epoch >= tuning.epoch:
            means = _train_epoch_(tuning, data, loss, recipe)
            tuning.save(checkpoint)
            report(means)
        loss.end_epoch_()
    tuned = tuning.average.ema.cpu().to(memory_format=torch.contiguous_format)
    assert _shapes(tuned) == shapes, "fine-tuning must keep every shape"
    return tuned


class _Tuning:
    """What a checkpoint holds: the network, its average, the optimizer, and the number of finished epochs."""

    def __init__(self, student: DetectionModel, recipe: FinetuneRecipe, *, n_steps: int, device: str) -> None:
        self.student = copy.deepcopy(student).float().to(device, memory_format=torch.channels_last)
        decay = 1 - 1 / max(AVERAGED * n_steps, 2)
        self.average = ModelEMA(self.student, decay=decay, tau=max(AVERAGED * n_steps, 1))
        self.optimizer = _optimizer(self.student, recipe)
        for module in self.student.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.momentum = BN_MOMENTUM
        self.epoch = 0
        self._key = {**asdict(recipe), "n_steps": n_steps}

    def save(self, path: Path) -> None:
        """Write the checkpoint, whole or not at all: its SHA-256, then what `torch.save` makes of it."""
        record = {
            "key": self._key,
            "epoch": self.epoch,
            "student": self.student.state_dict(),
            "average": self.average.ema.state_dict(),
            "updates": self.average.updates,
            "optimizer": self.optimizer.state_dict(),
        }
        content = io.BytesIO()
        torch.save(record, content)
        write_atomic(path, hashlib.sha256(content.getbuffer()).digest() + content.getvalue())

    def resume_(self, path: Path) -> str:
        """Take on the state of the checkpoint; if it is of no use, change nothing and return the reason."""
        content = path.read_bytes()
        digest, payload = content[:32], content[32:]
        if hashlib.sha256(payload).digest() != digest:
            return "is damaged"
        device = next(self.student.parameters()).device
        record = torch.load(io.BytesIO(payload), map_location=device, weights_only=True)
        if record["key"] != self._key:
            return "is of another recipe or data set"
        if {name: tuple(value.shape) for name, value in record["student"].items()} != _shapes(self.student):
            return "is of a network of other shapes"
        self.student.load_state_dict(record["student"])
        self.average.ema.load_state_dict(record["average"])
        self.average.updates = record["updates"]
        self.optimizer.load_state_dict(record["optimizer"])
        self.epoch = record["epoch"]
        return ""


class _Loss:
    """The task's loss and the parent's, of one batch."""

    def __init__(self, student: DetectionModel, parent: DetectionModel, recipe: FinetuneRecipe) -> None:
        student.args = IterableSimpleNamespace(**{**DEFAULT_CFG_DICT, "epochs": recipe.epochs})
        self._criterion = student.init_criterion()
        self._weight = recipe.distill
        self._teacher = _teacher(parent, next(student.parameters()).device) if recipe.distill > 0 else None

    def __call__(
        self, raw: Mapping[str, Tensor], images: Tensor, targets: Mapping[str, Tensor]
    ) -> tuple[Tensor, Tensor]:
        """Return the task's loss per image and the weighted loss to the parent."""
        task = self._criterion(raw, targets)[0].sum() / len(images)
        if self._teacher is None:
            return task, torch.zeros_like(task)
        with torch.no_grad():
            lesson = self._teacher(images)[1]
        return task, self._weight * distillation_loss(_dense(raw), _dense(lesson))

    def end_epoch_(self) -> None:
        """Shift the weight from the one-to-many to the one-to-one head, in networks that have both."""
        if hasattr(self._criterion, "update"):
            self._criterion.update()


def learning_rate(step: int, *, n_steps: int, n_warm_up: int) -> float:
    """Return the share of the highest learning rate at `step`: a linear rise, then a half cosine down to 1 %."""
    if step < n_warm_up:
        return (step + 1) / (n_warm_up + 1)
    progress = (step - n_warm_up) / max(n_steps - n_warm_up, 1)
    return LAST_LR + (1 - LAST_LR) * (1 + math.cos(math.pi * progress)) / 2


def _train_epoch_(tuning: _Tuning, data: TrainingSet, loss: _Loss, recipe: FinetuneRecipe) -> dict[str, float]:
    """Train one epoch and return what is reported of it."""
    start, sums = time.perf_counter(), torch.zeros(2)
    n_steps = n_batches(len(data), recipe.batch)
    tuning.student.train()
    batches = epoch_batches(
        data, epoch=tuning.epoch, batch=recipe.batch, flip=recipe.flip, mosaic=recipe.mosaic, seed=recipe.seed
    )
    for step, batch in enumerate(batches):
        share = learning_rate(
            tuning.epoch * n_steps + step, n_steps=n_steps * recipe.epochs, n_warm_up=math.ceil(WARM_UP * n_steps)
        )
        for group in tuning.optimizer.param_groups:
            group["lr"] = recipe.lr * share
        parts = _train_step_(tuning, loss, batch)
        if not parts.isfinite().all():
            raise FloatingPointError(
                f"loss must stay finite, got {parts.tolist()} in epoch {tuning.epoch + 1}, step {step + 1}"
            )
        sums += parts[:2]
    tuning.epoch += 1
    task, distilled = (sums / n_steps).tolist()
    seconds = time.perf_counter() - start
    return {
        "epoch": tuning.epoch,
        "loss": task + distilled,
        "task_loss": task,
        "distill_loss": distilled,
        "seconds": seconds,
    }


def _train_step_(tuning: _Tuning, loss: _Loss, batch: Batch) -> Tensor:
    """Return the task's loss, the parent's, and the norm of the gradient (3,); take the step if all are finite."""
    device = next(tuning.student.parameters()).device
    images = batch.images.to(device).float().div_(255)
    targets = {name: value.to(device) for name, value in batch.targets.items()}
    task, distilled = loss(tuning.student(images), images, targets)
    tuning.optimizer.zero_grad()
    (task + distilled).backward()
    norm = nn.utils.clip_grad_norm_(tuning.student.parameters(), MAX_NORM)
    parts = torch.stack([task.detach(), distilled.detach(), norm]).cpu()
    if parts.isfinite().all():
        tuning.optimizer.step()
        tuning.average.update(tuning.student)
    return parts


def _optimizer(student: DetectionModel, recipe: FinetuneRecipe) -> torch.optim.AdamW:
    """Return AdamW over everything but the fixed weights of the box decoding; sets what is trainable on the way."""
    decayed: list[nn.Parameter] = []
    others: list[nn.Parameter] = []
    for name, parameter in student.named_parameters():
        parameter.requires_grad_(".dfl." not in name)
        if parameter.requires_grad:
            (decayed if parameter.ndim > 1 else others).append(parameter)
    groups = [{"params": decayed, "weight_decay": recipe.weight_decay}, {"params": others, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=recipe.lr, betas=(0.9, 0.99))


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


def _shapes(model: nn.Module) -> Shapes:
    return {name: tuple(value.shape) for name, value in model.state_dict().items()}
