"""Scores of channels layer by layer: what each layer that makes a block's channels says of them.

Where several layers make the same channels, as in a residual chain, pruning methods differ in how they join what these
say: slimming keeps a channel that any of them wants, Pruned-YOLO counts their survivors, the others add.
"""

from collections.abc import Callable, Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from spaces.channels.graph import ChannelGraph, Use
from spaces.errors import BadInput
from spaces.importance.from_weights import kernel_scales, scales
from spaces.importance.scores import Scores

SIDE = 64  # of an image that only shows which BatchNorm follows which convolution

LayerScores = tuple[NDArray[np.float64], ...]  # for each block (n_layers, parts * size), NaN: the layer has no such


def gammas(parent: nn.Module, graph: ChannelGraph, /) -> LayerScores:
    """Return the absolute BatchNorm scales.

    Raises:
        BadInput: a channel without BatchNorm.
    """
    return _collect(scales(parent.state_dict(), graph), graph, "gamma")


def kernel_gammas(parent: nn.Module, graph: ChannelGraph, /) -> LayerScores:
    """Return Pruned-YOLO's score, as `from_weights.kernel_gamma` does, not added up.

    Raises:
        BadInput: a channel without BatchNorm.
    """
    return _collect(kernel_scales(parent, torch.zeros(1, 3, SIDE, SIDE)), graph, "kernel_gamma")


def filter_means(parent: nn.Module, graph: ChannelGraph, /) -> LayerScores:
    """Return the mean absolute weight of each filter, PAGCP's score: a wide member does not outweigh the others."""
    return _of_filters(parent, graph, lambda filters: filters.abs().mean(1))


def filter_norms(parent: nn.Module, graph: ChannelGraph, /) -> LayerScores:
    """Return the L2 norm of each filter, NetAdapt's score."""
    return _of_filters(parent, graph, lambda filters: filters.norm(dim=1))


def added(scores: LayerScores, /) -> Scores:
    """Return the sum over layers of each channel's scores."""
    return tuple(np.nansum(block, axis=0) for block in scores)


def wanted(scores: LayerScores, /) -> Scores:
    """Return the highest score that any layer gives each channel."""
    return tuple(np.nanmax(block, axis=0) for block in scores)


def _of_filters(parent: nn.Module, graph: ChannelGraph, score: Callable[[Tensor], Tensor]) -> LayerScores:
    tensors = parent.state_dict()
    names = dict.fromkeys(layer.weight for layer in graph.layers)
    return _collect({(name, 0): score(tensors[name].flatten(1)) for name in names}, graph, "filters")


def _collect(values: Mapping[Use, Tensor], graph: ChannelGraph, importance: str) -> LayerScores:
    rows: list[list[NDArray[np.float64]]] = [[] for _ in graph.blocks]
    for use, value in values.items():
        axis = graph.axes.get(use)
        if axis is None:
            continue
        given = value.double().cpu().numpy()
        for index in np.unique(axis.blocks[axis.blocks >= 0]):
            mine = axis.blocks == index
            row = np.full(graph.blocks[index].parts * graph.blocks[index].size, np.nan)
            row[axis.atoms[mine]] = given[mine]
            rows[index].append(row)
    for block, layers in zip(graph.blocks, rows, strict=True):
        if not layers or np.isnan(layers).all(0).any():
            raise BadInput(
                f"importance={importance} needs BatchNorm behind every channel, which {block.name!r} has not"
            )
    return tuple(np.stack(layers) for layers in rows)
