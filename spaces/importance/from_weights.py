"""Scores that read the parent's weights only: norms of filters, their redundancy, BatchNorm's scales, and chance.

What a residual joins is made by several layers; their scores are added.
"""

from collections.abc import Callable, Mapping
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn

from spaces.activations.patches import removed_after
from spaces.channels.graph import ChannelGraph, Use
from spaces.errors import BadInput
from spaces.importance.scores import Scores, Subject, collect

KERNEL_FACTOR = 10.0  # of Pruned-YOLO's published code


def l1(tensors: Mapping[str, Tensor], graph: ChannelGraph, /) -> Scores:
    """Return the L1 norm of the filters that make each channel.

    Source: Li 2017, Pruning filters for efficient convnets (arXiv:1608.08710).
    """
    return _of_filters(tensors, graph, lambda filters: filters.abs().sum(1))


def l1_of(subject: Subject, /) -> Scores:
    """Return `l1` of the parent's filters."""
    return l1(subject.parent.state_dict(), subject.graph)


def l2(subject: Subject, /) -> Scores:
    """Return the L2 norm of the filters that make each channel.

    Source: He 2018, Soft filter pruning (arXiv:1808.06866).
    """
    return _of_filters(subject.parent.state_dict(), subject.graph, lambda filters: filters.norm(dim=1))


def fpgm(subject: Subject, /) -> Scores:
    """Return how far the filters that make each channel are from all others of their layer, summed distances.

    The filter nearest to the geometric median tells least that the others do not.
    Source: He 2019, Filter pruning via geometric median (arXiv:1811.00250), equation 8.
    """
    tensors = subject.parent.state_dict()
    return _of_filters(tensors, subject.graph, lambda filters: torch.cdist(filters, filters).sum(1))


def gamma(subject: Subject, /) -> Scores:
    """Return the absolute BatchNorm scale of each channel.

    Source: Liu 2017, Network slimming (arXiv:1708.06519).

    Raises:
        BadInput: a channel without BatchNorm.
    """
    return _of_scales(scales(subject.parent.state_dict(), subject.graph), subject.graph, "gamma")


def scales(tensors: Mapping[str, Tensor], graph: ChannelGraph, /) -> dict[Use, Tensor]:
    """Return the absolute scales of each BatchNorm."""
    return {(name, 0): tensors[name].detach().abs() for name in sorted(graph.scales)}


def kernel_gamma(subject: Subject, /) -> Scores:
    """Return Pruned-YOLO's score, 10 x mean |W| of a channel's filter x its absolute BatchNorm scale.

    Source: Zhang 2022, Pruned-YOLO: learning efficient object detector using model pruning, "weighting by kernel".

    Raises:
        BadInput: a channel without BatchNorm.
    """
    return _of_scales(kernel_scales(subject.parent, subject.images[:1]), subject.graph, "kernel_gamma")


def kernel_scales(parent: nn.Module, image: Tensor, /) -> dict[Use, Tensor]:
    """Return 10 x mean |W| of each filter x the absolute scale of the BatchNorm behind it, by convolution.

    Args:
        image: any, (1, 3, H, W); it shows which BatchNorm follows which convolution.
    """
    tensors = parent.state_dict()
    values = {}
    for conv, norm in _norms(parent, image).items():
        kernel = tensors[f"{conv}.weight"].abs().flatten(1).mean(1)
        values[f"{conv}.weight", 0] = KERNEL_FACTOR * kernel * tensors[f"{norm}.weight"].abs()
    return values


def at_random(subject: Subject, /) -> Scores:
    """Return uniform random scores, the control of every other."""
    rng = np.random.default_rng(subject.seed)
    return tuple(rng.random(block.parts * block.size) for block in subject.graph.blocks)


def _of_filters(tensors: Mapping[str, Tensor], graph: ChannelGraph, score: Callable[[Tensor], Tensor]) -> Scores:
    """Return what `score` finds of each layer's filters (C, n), as (C,)."""
    names = dict.fromkeys(layer.weight for layer in graph.layers)
    return collect({(name, 0): score(tensors[name].detach().flatten(1)) for name in names}, graph)


def _of_scales(values: Mapping[Use, Tensor], graph: ChannelGraph, importance: str) -> Scores:
    covered = collect({use: torch.ones_like(value) for use, value in values.items()}, graph)
    bare = [block.name for block, times in zip(graph.blocks, covered, strict=True) if not times.all()]
    if bare:
        raise BadInput(f"importance={importance} needs BatchNorm behind every channel, which {bare[0]!r} has not")
    return collect(values, graph)


@torch.no_grad()
def _norms(parent: nn.Module, image: Tensor) -> dict[str, str]:
    """Return the BatchNorm that reads each convolution's output, by the convolution's name."""
    made: dict[int, tuple[str, Tensor]] = {}  # the outputs themselves too, lest another gets the id of one that is gone
    found: dict[str, str] = {}

    def remember(name: str, _: nn.Module, __: object, output: Tensor) -> None:
        made[id(output)] = name, output

    def look_up(name: str, _: nn.Module, inputs: tuple[Tensor]) -> None:
        if (maker := made.get(id(inputs[0]))) is not None:
            found[maker[0]] = name

    convs = {name: layer for name, layer in parent.named_modules() if isinstance(layer, nn.Conv2d)}
    norms = {name: layer for name, layer in parent.named_modules() if isinstance(layer, nn.BatchNorm2d)}
    hooks = [layer.register_forward_hook(partial(remember, name)) for name, layer in convs.items()]
    hooks += [layer.register_forward_pre_hook(partial(look_up, name)) for name, layer in norms.items()]
    with removed_after(hooks):
        parent(image)
    return found
