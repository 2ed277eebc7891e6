"""Where and how much a detector's predictions depend on what its layers compute, without labels.

The parent's own predictions are taken for the truth: classes and box edges are drawn from the distributions that it
predicts, and the squared gradient of their log-likelihood is the Fisher information. It is large at objects and at
the channels that decide about them, and next to nothing on empty background.
Source: Amari 1998, Natural gradient works efficiently in learning; Theis 2018 (arXiv:1801.05787) for pruning by it.
"""

import copy
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from spaces.activations.patches import by_place, fitted_layers
from spaces.networks.outputs import box_values, deployed_logits

CLASS_GAIN, BOX_GAIN = 0.5, 1.5  # the task loss's own weights of its class and its box distribution term
BATCH = 8


@dataclass(frozen=True, eq=False)
class Fisher:
    """Fisher information of the outputs of each fitted layer, by its name.

    Attributes:
        channels: (C,) of one channel of one image, summed over places and averaged over images.
        places: (N, P) of each place of each image, summed over channels.
    """

    channels: Mapping[str, Tensor]
    places: Mapping[str, Tensor]


class _Sums(NamedTuple):
    """Squared gradients of one batch."""

    channels: Tensor  # (B, C) summed over places
    places: Tensor  # (B, P) summed over channels


@torch.enable_grad()
def fisher_information(parent: nn.Module, images: Tensor, /, *, seed: int) -> Fisher:
    """Return the Fisher information of `parent`, a detector in eval mode, on `images` (N, 3, H, W).

    A layer that no prediction depends on, or that runs several times in one forward pass, is left out.

    Raises:
        FloatingPointError: a prediction or a gradient is not finite.
    """
    model = copy.deepcopy(parent).requires_grad_(True)
    generator = torch.Generator(images.device).manual_seed(seed)
    layers = fitted_layers(model)
    squares: dict[str, list[_Sums]] = {name: [] for name in layers}
    for name, layer in layers.items():
        layer.register_forward_hook(partial(_watch, squares[name]))
    for part in images.split(BATCH):
        surprise(model(part)[1], generator).backward()
    n_batches = len(images.split(BATCH))
    found = {name: parts for name, parts in squares.items() if len(parts) == n_batches}
    channels = {name: torch.cat([part.channels for part in parts]).mean(0) for name, parts in found.items()}
    if odd := next((name for name, information in channels.items() if not information.isfinite().all()), None):
        raise FloatingPointError(f"the gradients of the parent must be finite, those of layer {odd} are not")
    return Fisher(channels, {name: torch.cat([part.places for part in parts]) for name, parts in found.items()})


def surprise(raw: Mapping[str, object], generator: torch.Generator, /) -> Tensor:
    """Return the negative log-likelihood, a scalar, of one draw from what the raw outputs of a detector predict.

    Boxes count by the square root of their best class score: where nothing is seen, no box is deployed.

    Raises:
        FloatingPointError: an output is not finite.
    """
    return torch.stack([_branch_surprise(*branch, generator) for branch in _branches(raw)]).sum()


def _branches(raw: Mapping[str, object]) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield the scores (B, classes, A) and the boxes (B, 4 * bins, A) of each branch of a head."""
    for branch in raw.values() if "one2many" in raw else [raw]:
        assert isinstance(branch, Mapping)
        yield deployed_logits(branch), box_values(branch)


def _branch_surprise(scores: Tensor, boxes: Tensor, generator: torch.Generator) -> Tensor:
    if not (scores.isfinite().all() and boxes.isfinite().all()):
        raise FloatingPointError("the predictions of the parent must be finite, got NaN or infinity")
    chances = scores.detach().sigmoid()
    seen = torch.bernoulli(chances, generator=generator)
    classes = functional.binary_cross_entropy_with_logits(scores, seen, reduction="sum")
    weight = chances.amax(1, keepdim=True).sqrt()  # (B, 1, A)
    batch, n_channels, n_anchors = boxes.shape
    if n_channels == 4:  # the value itself, taken for the mean of a unit normal distribution
        edges = boxes * torch.randn(boxes.shape, generator=generator, device=boxes.device)
    else:
        log_chances = boxes.reshape(batch, 4, n_channels // 4, n_anchors).log_softmax(2)
        rows = log_chances.detach().exp().permute(0, 1, 3, 2).flatten(0, 2)  # (B * 4 * A, bins)
        bins = torch.multinomial(rows, 1, generator=generator).reshape(batch, 4, 1, n_anchors)
        edges = -log_chances.gather(2, bins).squeeze(2)
    return CLASS_GAIN * classes + BOX_GAIN * (edges * weight).sum() / 4


def _watch(squares: list[_Sums], layer: nn.Module, _: tuple[Tensor], output: Tensor) -> None:
    output.register_hook(lambda gradient: squares.append(_summed(by_place(gradient, layer).square().contiguous())))


def _summed(squares: Tensor) -> _Sums:
    """Return the sums of `squares` (B, P, C), which themselves would be gigabytes of 64 images at 640 pixels."""
    return _Sums(squares.sum(1), squares.sum(2))
