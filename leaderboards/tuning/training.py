"""Training of one network: a loop of our own around whatever it is to learn.

Ultralytics' trainer rebuilds the network from its YAML, which silently undoes a cut, writes into the data folder,
and picks its best epoch on the sealed split. This loop trains exactly the tensors it was given, reads nothing but
the samples, picks nothing, and returns the averaged weights of the last epoch.
"""

import copy
import hashlib
import io
import logging
import math
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Generic, Protocol, TypeVar

import torch
from torch import Tensor, nn
from ultralytics.utils.torch_utils import ModelEMA

from evaluators.data.dataset import Sample
from leaderboards.tuning.training_data import Batch, TrainingSet, epoch_batches, n_batches
from spaces.files import write_atomic

LOG = logging.getLogger(__name__)
WARM_UP = 0.3  # of the first epoch
LAST_LR = 0.01  # of the highest
BN_MOMENTUM = 0.1  # ultralytics' 0.03 leaves 38 % of the old statistics after 32 steps
MAX_NORM = 10.0  # of the gradient of the loss per image
AVERAGED = 0.05  # the share of all steps that the moving average spans
GRADIENT = "gradient"  # what the norm of the gradient is called beside the parts of a loss

Shapes = dict[str, tuple[int, ...]]
Network = TypeVar("Network", bound=nn.Module)


@dataclass(frozen=True)
class TrainingRecipe:
    """How a network is trained; the defaults suit 1 to 20 epochs from a working detector.

    Attributes:
        imgsz: side of the square input in pixels.
        lr: the highest learning rate of AdamW, reached after the warm-up.
        weight_decay: of convolution and linear weights only.
        flip: probability of mirroring; 0 where a mirror image is another class, as with digits.
        mosaic: probability of a mosaic of four images.
        freezes_bn: whether BatchNorm keeps the statistics that it came with; its scales are trained all the same.
    """

    epochs: int
    imgsz: int
    batch: int = 8
    lr: float = 1e-3
    weight_decay: float = 5e-4
    flip: float = 0.5
    mosaic: float = 0.0
    seed: int = 0
    freezes_bn: bool = False


class Lesson(Protocol):
    """What one network, given when the lesson was made, is trained towards."""

    def __call__(self, images: Tensor, targets: Mapping[str, Tensor], /) -> Mapping[str, Tensor]:
        """Return the parts of the loss of one batch by name, each a scalar; training descends their sum."""
        ...

    def end_epoch_(self) -> None:
        """Go on to the next epoch."""
        ...


def train(
    student: Network,
    samples: Sequence[Sample],
    lesson: Callable[[Network], Lesson],
    *,
    recipe: TrainingRecipe,
    checkpoint: Path,
    report: Callable[[Mapping[str, float]], None],
    device: str,
) -> Network:
    """Return `student` trained: averaged weights, float32, eval mode, on the CPU, every shape as it came.

    `checkpoint` is written whole after every epoch. If it is there already, a run of the same recipe goes on from it
    and ends as if it had never stopped; if it is of no use, it is overwritten and the reason is logged.

    Args:
        lesson: makes what a copy of `student` is trained towards; `student` itself is left as it is.
        report: is called after every epoch with `epoch` (from 1), `loss`, the lesson's parts by their names (means per
            step) and `seconds`; what it raises ends the training.

    Raises:
        BadInput: an image can no longer be read.
        FloatingPointError: the loss or its gradient is no longer finite; names the epoch and the step.
    """
    shapes = _shapes(student)
    data = TrainingSet(samples, imgsz=recipe.imgsz)
    tuning = _Tuning(student, recipe, n_steps=n_batches(len(data), recipe.batch) * recipe.epochs, device=device)
    if checkpoint.exists() and (reason := tuning.resume_(checkpoint)):
        LOG.warning("training starts again from the beginning: %s %s", checkpoint, reason)
    loss = lesson(tuning.student)
    for epoch in range(recipe.epochs):
        if epoch >= tuning.epoch:
            means = _train_epoch_(tuning, data, loss, recipe)
            tuning.save(checkpoint)
            report(means)
        loss.end_epoch_()
    tuned: Network = tuning.average.ema.cpu().to(memory_format=torch.contiguous_format)
    assert _shapes(tuned) == shapes, "training must keep every shape"
    return tuned


class _Tuning(Generic[Network]):
    """What a checkpoint holds: the network, its average, the optimizer, and the number of finished epochs."""

    def __init__(self, student: Network, recipe: TrainingRecipe, *, n_steps: int, device: str) -> None:
        self.student: Network = copy.deepcopy(student).float().to(device).to(memory_format=torch.channels_last)
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


def learning_rate(step: int, *, n_steps: int, n_warm_up: int) -> float:
    """Return the share of the highest learning rate at `step`: a linear rise, then a half cosine down to 1 %."""
    if step < n_warm_up:
        return (step + 1) / (n_warm_up + 1)
    progress = (step - n_warm_up) / max(n_steps - n_warm_up, 1)
    return LAST_LR + (1 - LAST_LR) * (1 + math.cos(math.pi * progress)) / 2


def _train_epoch_(
    tuning: _Tuning[Network], data: TrainingSet, loss: Lesson, recipe: TrainingRecipe
) -> dict[str, float]:
    """Train one epoch and return what is reported of it."""
    start, sums = time.perf_counter(), Counter[str]()
    n_steps = n_batches(len(data), recipe.batch)
    tuning.student.train()
    if recipe.freezes_bn:
        freeze_bn_(tuning.student)
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
        if not all(map(math.isfinite, parts.values())):
            raise FloatingPointError(f"loss must stay finite, got {parts} in epoch {tuning.epoch + 1}, step {step + 1}")
        sums.update(parts)
    tuning.epoch += 1
    del sums[GRADIENT]
    means = {name: value / n_steps for name, value in sums.items()}
    seconds = time.perf_counter() - start
    return {"epoch": tuning.epoch, "loss": sum(means.values()), **means, "seconds": seconds}


def freeze_bn_(model: nn.Module, /) -> None:
    """Let the BatchNorm layers of `model`, in training mode, normalise by the statistics that they have."""
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eval()


def _train_step_(tuning: _Tuning[Network], loss: Lesson, batch: Batch) -> dict[str, float]:
    """Return the parts of the loss and the norm of its gradient; take the step if all are finite."""
    device = next(tuning.student.parameters()).device
    images = batch.images.to(device).float().div_(255)
    targets = {name: value.to(device) for name, value in batch.targets.items()}
    parts = loss(images, targets)
    tuning.optimizer.zero_grad()
    total = torch.stack(list(parts.values())).sum()
    total.backward()
    norm = nn.utils.clip_grad_norm_(tuning.student.parameters(), MAX_NORM)
    values = torch.stack([*(part.detach() for part in parts.values()), norm]).tolist()
    if all(map(math.isfinite, values)):
        tuning.optimizer.step()
        tuning.average.update(tuning.student)
    return dict(zip((*parts, GRADIENT), values, strict=True))


def _optimizer(student: nn.Module, recipe: TrainingRecipe) -> torch.optim.AdamW:
    """Return AdamW over everything but the fixed weights of the box decoding; sets what is trainable on the way."""
    decayed: list[nn.Parameter] = []
    others: list[nn.Parameter] = []
    for name, parameter in student.named_parameters():
        parameter.requires_grad_(".dfl." not in name)
        if parameter.requires_grad:
            (decayed if parameter.ndim > 1 else others).append(parameter)
    groups = [{"params": decayed, "weight_decay": recipe.weight_decay}, {"params": others, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=recipe.lr, betas=(0.9, 0.99))


def _shapes(model: nn.Module) -> Shapes:
    return {name: tuple(value.shape) for name, value in model.state_dict().items()}
