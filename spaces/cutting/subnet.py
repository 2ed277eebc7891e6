"""Cutting: a sub-network made of the parent's own tensors, sliced by index and never re-initialised."""

import copy
from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from ultralytics.nn.modules.block import C2f

from spaces.channels.graph import ChannelGraph, Use
from spaces.importance.scores import Scores
from spaces.networks.twin import twin

Chosen = tuple[NDArray[np.bool_], ...]  # for each block, which of its parts * size channels stay
Kept = Mapping[Use, NDArray[np.int64]]  # for each dimension that may be cut, the parent's indices that stay


def choose_channels(graph: ChannelGraph, scores: Scores, keep: NDArray[np.int64], /) -> Chosen:
    """Return the `keep[i]` channels of each part of block i with the highest scores; ties go to the lower index."""
    chosen = []
    for block, score, k in zip(graph.blocks, scores, keep, strict=True):
        ranks = np.argsort(-score.reshape(block.parts, block.size), axis=1, kind="stable")
        stays = np.zeros((block.parts, block.size), bool)
        np.put_along_axis(stays, ranks[:, :k], values=True, axis=1)
        chosen.append(stays.ravel())
    return tuple(chosen)


def slice_tensors(tensors: Mapping[str, Tensor], graph: ChannelGraph, chosen: Chosen, /) -> dict[str, Tensor]:
    """Return the state dict of the sub-network that keeps the `chosen` channels, in memory of its own."""
    sliced = dict(tensors)
    for (name, dimension), index in kept_indices(graph, chosen).items():
        if len(index) < sliced[name].shape[dimension]:
            sliced[name] = sliced[name].index_select(dimension, torch.from_numpy(index).to(sliced[name].device))
    return {name: tensor.clone() if tensor is tensors[name] else tensor for name, tensor in sliced.items()}


def kept_indices(graph: ChannelGraph, chosen: Chosen, /) -> Kept:
    """Return, for each dimension that may be cut, the parent's indices that stay, ascending."""
    kept = {}
    for use, axis in graph.axes.items():
        stays = axis.blocks < 0
        for index in np.unique(axis.blocks[~stays]):
            mine = axis.blocks == index
            stays[mine] = chosen[index][axis.atoms[mine]]
        kept[use] = np.flatnonzero(stays)
    return kept


def mask_tensors(tensors: Mapping[str, Tensor], graph: ChannelGraph, chosen: Chosen, /) -> dict[str, Tensor]:
    """Return the parent's state dict with every weight that reads a channel which is not `chosen` set to zero.

    This network computes what the cut one must compute: the oracle of cutting.
    """
    masked = dict(tensors)
    for (name, dimension), index in kept_indices(graph, chosen).items():
        if dimension == 1:
            mask = torch.zeros(masked[name].shape[1])
            mask[index] = 1
            masked[name] = masked[name] * mask.view(1, -1, *[1] * (masked[name].dim() - 2))
    return masked


def install(skeleton: nn.Module, tensors: Mapping[str, Tensor], /) -> nn.Module:
    """Return a copy of `skeleton` that holds `tensors`, its layers' declared widths made to agree with them.

    The tensors are not copied. The result is in eval mode, its parameters trainable.

    Raises:
        ValueError: the names differ from those of the skeleton.
    """
    model = twin(skeleton)
    own = model.state_dict()
    if own.keys() != tensors.keys():
        odd = sorted(own.keys() ^ tensors.keys())
        raise ValueError(f"the tensors must be those of the network, {len(odd)} differ, the first is {odd[0]}")
    for path, module in model.named_modules():
        prefix = f"{path}." if path else ""
        for name in list(module._parameters):
            if module._parameters[name] is not None:
                module._parameters[name] = nn.Parameter(tensors[prefix + name])
        for name in list(module._buffers):
            if prefix + name in tensors:
                module._buffers[name] = tensors[prefix + name]
        _declare_width_(module)
    for module in model.modules():
        if isinstance(module, C2f):
            module.c = module.cv1.conv.out_channels // 2
    return model.eval()


def skeleton_of(model: nn.Module, /) -> nn.Module:
    """Return a copy of `model` whose tensors hold no memory, to be filled by `install`."""
    with torch.device("meta"):
        memo = {id(tensor): torch.empty_like(tensor, device="meta") for tensor in model.buffers()}
        memo |= {id(p): nn.Parameter(torch.empty_like(p, device="meta")) for p in model.parameters()}
    return copy.deepcopy(model, memo)


def _declare_width_(module: nn.Module) -> None:
    if isinstance(module, nn.Conv2d):
        n_out, per_group = module.weight.shape[:2]
        if module.groups > 1:  # a depthwise convolution has as many groups as channels, other groups are never cut
            module.groups = n_out // (module.out_channels // module.groups)
        module.out_channels, module.in_channels = n_out, per_group * module.groups
    elif isinstance(module, nn.BatchNorm2d):
        module.num_features = len(module.running_mean) if module.running_mean is not None else module.num_features
    elif isinstance(module, nn.Linear):
        module.out_features, module.in_features = module.weight.shape
