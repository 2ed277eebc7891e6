"""Masks: weights that are set to zero where others cut channels. Every shape stays, so no dense engine gets faster.

A mask is one pick of a candidate: "mask.weight", "mask.kernel" and "mask.filter" with the percent of each layer's
weights, k x k kernels or filters that go, smallest L1 first, as `torch.nn.utils.prune` chooses them; "mask.n_m" with
N and M as two digits: of every M consecutive input channels the N largest weights stay, 24 being what sparse tensor
cores execute. The mean over box distributions is no weight and never masked. Filters go where channels could be cut:
without those that make the predictions a class would be gone. Layers whose inputs do not divide by M stay dense.
"""

from dataclasses import dataclass
from enum import StrEnum

import torch
from torch import Tensor, nn

from spaces.candidate import MASK_PREFIX, Candidate
from spaces.channels.graph import ChannelGraph
from spaces.cutting.sparse import encode
from spaces.errors import BadInput
from spaces.networks.folding import fold_bn

N_M = (14, 24, 34)


class Granularity(StrEnum):
    """What is set to zero as one."""

    WEIGHT = "weight"
    KERNEL = "kernel"
    FILTER = "filter"
    N_M = "n_m"


@dataclass(frozen=True)
class Mask:
    """What of each layer is set to zero.

    Attributes:
        amount: the percent of its units, or N and M as digits.

    Raises:
        BadInput: an amount that is no percentage from 1 to 99, or for N:M none of 14, 24, 34.
    """

    granularity: Granularity
    amount: int

    def __post_init__(self) -> None:
        allowed = N_M if self.granularity is Granularity.N_M else range(1, 100)
        if self.amount not in allowed:
            said = "14, 24 or 34" if self.granularity is Granularity.N_M else "a percentage from 1 to 99"
            raise BadInput(f"{MASK_PREFIX}{self.granularity} must be {said}, got {self.amount}")

    @property
    def pick(self) -> tuple[str, int]:
        """The pick of a candidate that stands for it."""
        return f"{MASK_PREFIX}{self.granularity}", self.amount


def mask_of(candidate: Candidate, /) -> Mask | None:
    """Return the mask that `candidate` picks.

    Raises:
        BadInput: it picks several, or one that does not exist.
    """
    picks = [(name.removeprefix(MASK_PREFIX), value) for name, value in candidate.picks if name.startswith(MASK_PREFIX)]
    if len(picks) > 1 or any(name not in list(Granularity) for name, _ in picks):
        raise BadInput(f"candidate {candidate.id} must have one mask of {', '.join(Granularity)} at most, got {picks}")
    return Mask(Granularity(picks[0][0]), picks[0][1]) if picks else None


def weighted_layers(network: nn.Module, /) -> dict[str, nn.Conv2d | nn.Linear]:
    """Return the layers whose weights may be masked, by name."""
    return {
        name: layer
        for name, layer in network.named_modules()
        if isinstance(layer, nn.Conv2d | nn.Linear) and ".dfl." not in f"{name}."
    }


@torch.no_grad()
def mask_(network: nn.Module, mask: Mask, graph: ChannelGraph, /) -> None:
    """Set the weights of `network` that `mask` leaves out to zero; its widths may be those of the graph or less."""
    for name, layer in weighted_layers(network).items():
        axis = graph.axes.get((f"{name}.weight", 0))
        is_cuttable = axis is not None and bool((axis.blocks >= 0).all())
        if is_cuttable or mask.granularity is not Granularity.FILTER:
            layer.weight.mul_(kept(layer.weight, mask))


def kept(weight: Tensor, mask: Mask, /) -> Tensor:
    """Return which entries of `weight` (out, in, ...) stay, a bool tensor of its shape; of equal ones the first go."""
    if mask.granularity is Granularity.N_M:
        return _kept_of_m(weight, *divmod(mask.amount, 10))
    norms = _norms(weight.abs(), mask.granularity)
    order = norms.flatten().argsort(stable=True)
    stays = torch.ones(norms.numel(), dtype=torch.bool, device=weight.device)
    stays[order[: round(mask.amount / 100 * norms.numel())]] = False
    return stays.view(norms.shape).expand(weight.shape)


def share_of_zeros(network: nn.Module, /) -> float:
    """Return the fraction of zeros among the weights that may be masked."""
    weights = [layer.weight for layer in weighted_layers(network).values()]
    return sum(int((weight == 0).sum()) for weight in weights) / sum(weight.numel() for weight in weights)


def bytes_saved(network: nn.Module, /) -> int:
    """Return how many bytes less the weights of `network` take, BatchNorm folded, if their zeros are not stored."""
    weights = [layer.weight.detach().cpu().numpy() for layer in weighted_layers(fold_bn(network)).values()]
    return sum(4 * weight.size - len(encode(weight)) for weight in weights)


def hold_zeros_(network: nn.Module, /) -> None:
    """Let no gradient reach the weights that are zero: AdamW, its weight decay and averaging then leave them there."""
    for layer in weighted_layers(network).values():
        stays = layer.weight != 0
        if layer.weight.requires_grad and not bool(stays.all()):
            layer.weight.register_hook(lambda gradient, stays=stays: gradient * stays)


def _norms(magnitude: Tensor, granularity: Granularity) -> Tensor:
    """Return the L1 norms of the units, with as many dimensions as the weight has."""
    first = {Granularity.WEIGHT: magnitude.ndim, Granularity.KERNEL: 2, Granularity.FILTER: 1}[granularity]
    summed = tuple(range(first, magnitude.ndim))
    return magnitude.sum(summed, keepdim=True) if summed else magnitude


def _kept_of_m(weight: Tensor, n: int, m: int) -> Tensor:
    if weight.shape[1] % m:
        return torch.ones_like(weight, dtype=torch.bool)
    groups = weight.abs().unflatten(1, (-1, m))  # (out, in / m, m, ...)
    ranks = groups.argsort(dim=2, descending=True, stable=True).argsort(dim=2)
    stays: Tensor = (ranks < n).flatten(1, 2)
    return stays
