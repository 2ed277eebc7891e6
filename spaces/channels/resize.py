"""One network at another image size: the same blocks, other numbers of positions; no need to trace it again."""

import copy
from collections import defaultdict
from dataclasses import replace
from functools import partial

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from spaces.activations.patches import removed_after
from spaces.channels.graph import ChannelGraph


@torch.no_grad()
def resize(graph: ChannelGraph, model: nn.Module, /, *, imgsz: int) -> ChannelGraph:
    """Return `graph`, which is of `model`, for square images of `imgsz` pixels, from one forward pass.

    Raises:
        KeyError: a convolution is no layer of its own, so its outputs cannot be watched.
    """
    model = copy.deepcopy(model).eval()
    positions: dict[str, list[int]] = defaultdict(list)

    def watch(name: str, _: nn.Module, __: tuple[Tensor], output: Tensor) -> None:
        positions[f"{name}.weight"].append(output.shape[2] * output.shape[3])

    convolutions = [(name, layer) for name, layer in model.named_modules() if isinstance(layer, nn.Conv2d)]
    with (
        FlopCounterMode(display=False) as counter,
        removed_after(layer.register_forward_hook(partial(watch, name)) for name, layer in convolutions),
    ):
        model(torch.zeros(1, 3, imgsz, imgsz))
    calls = {name: iter(each) for name, each in positions.items()}
    layers = tuple(replace(layer, positions=next(calls[layer.weight])) for layer in graph.layers)
    sizes = {layer.weight: torch.Size(graph.shapes[layer.weight]).numel() for layer in layers}
    conv_macs = sum(layer.positions * sizes[layer.weight] for layer in layers)
    return replace(graph, layers=layers, other_macs=counter.get_total_flops() // 2 - conv_macs)
