"""Which channels of a block matter: one score for each, the same for every candidate of a parent."""

from collections.abc import Mapping
from enum import StrEnum

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from spaces.graph import ChannelGraph, Use

Scores = tuple[NDArray[np.float64], ...]  # for each block, one for each of its parts * size channels


class Importance(StrEnum):
    """How channels are scored; "greedy" is the order of `spaces.elimination`."""

    GREEDY = "greedy"
    CONTRIBUTION = "contribution"
    L1 = "l1"


def l1(tensors: Mapping[str, Tensor], graph: ChannelGraph, /) -> Scores:
    """Return the L1 norm of the filters that make each channel, summed over a residual's makers.

    Source: Li 2017, Pruning filters for efficient convnets (arXiv:1608.08710).
    """
    names = dict.fromkeys(layer.weight for layer in graph.layers)
    return _collect({(name, 0): tensors[name].detach().abs().flatten(1).sum(1) for name in names}, graph)


@torch.no_grad()
def contribution(parent: nn.Module, graph: ChannelGraph, images: Tensor, /) -> Scores:
    """Return the variance that each channel adds to the outputs of the convolutions that read it.

    A channel of variance v that is read by weights w adds v * |w|^2; its mean is left out, for a bias or BatchNorm
    makes that good. On digits at half the MACs, after reconstruction, this keeps .55 mAP where L1 keeps .37.

    Args:
        images: float32 (N, 3, H, W) in [0, 1], without labels.
    """
    variances: dict[str, Tensor] = {}

    def record(name: str) -> None:
        def hook(_: nn.Module, inputs: tuple[Tensor]) -> None:
            variances[name] = inputs[0].transpose(0, 1).flatten(1).var(1)

        hooks.append(layers[name].register_forward_pre_hook(hook))

    layers = {name: layer for name, layer in parent.named_modules() if isinstance(layer, nn.Conv2d)}
    hooks: list[torch.utils.hooks.RemovableHandle] = []
    readers = [name for name, dimension in graph.axes if dimension == 1]
    for reader in readers:
        record(reader.removesuffix(".weight"))
    parent(images)
    for handle in hooks:
        handle.remove()
    added = {}
    for reader in readers:
        weights = layers[reader.removesuffix(".weight")].weight
        added[reader, 1] = variances[reader.removesuffix(".weight")] * weights.pow(2).sum((0, 2, 3))
    return _collect(added, graph)


def _collect(values: Mapping[Use, Tensor], graph: ChannelGraph) -> Scores:
    """Return for each block's channels the sum of `values` over the dimensions that hold them."""
    scores = tuple(np.zeros(block.parts * block.size) for block in graph.blocks)
    for use, value in values.items():
        axis = graph.axes.get(use)
        if axis is None:
            continue
        added = value.double().cpu().numpy()
        for index in np.unique(axis.blocks[axis.blocks >= 0]):
            mine = axis.blocks == index
            np.add.at(scores[index], axis.atoms[mine], added[mine])
    return scores
