"""Masks: weights that are set to zero where others cut channels. Every shape stays, so no dense engine gets faster.

A mask is one pick of a candidate: "mask.weight", "mask.kernel" and "mask.filter" with the percent of each layer's
weights, k x k kernels or filters that go, smallest L1 first, as `torch.nn.utils.prune` chooses them; "mask.n_m" with
N and M as two digits: of every M consecutive input channels the N largest weights stay, 24 being what sparse tensor
cores execute. The mean over box distributions is no weight and never masked. Filters go where channels could be cut:
without those that make the predictions a class would be gone. Layers whose inputs do not divide by M stay dense.
"""

import torch
from torch import Tensor, nn

from spaces.channels.graph import ChannelGraph
from spaces.cutting.mask import Granularity, Mask
from spaces.cutting.sparse import encode
from spaces.networks.folding import fold_bn


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
