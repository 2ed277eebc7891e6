"""BatchNorm folded into the convolutions before it: the same outputs with less to do, in a copy to be looked at."""

import copy

import torch
from torch import nn
from ultralytics.nn.modules.conv import Conv


@torch.no_grad()
def fold_bn(model: nn.Module, /) -> nn.Module:
    """Return a copy of `model` in eval mode without BatchNorm; it shares all other tensors, so it must not be trained.

    Outputs differ from those of `model` by float32 rounding.
    """
    folded = _twin(model).eval()
    for layer in folded.modules():
        if isinstance(layer, Conv) and isinstance(layer.bn, nn.BatchNorm2d):
            _fold_(layer)
    return folded


def _twin(module: nn.Module) -> nn.Module:
    """Return modules of our own around the tensors of `module`: a deep copy would take as long as scoring an image."""
    twin = copy.copy(module)
    twin._parameters, twin._buffers = dict(module._parameters), dict(module._buffers)
    twin._modules = {name: child if child is None else _twin(child) for name, child in module._modules.items()}
    return twin


def _fold_(layer: Conv) -> None:
    conv, bn = layer.conv, layer.bn
    scale = bn.weight * torch.rsqrt(bn.running_var + bn.eps)
    offset = -bn.running_mean if conv.bias is None else conv.bias - bn.running_mean
    conv.weight = nn.Parameter(conv.weight * scale.view(-1, 1, 1, 1), requires_grad=False)
    conv.bias = nn.Parameter(bn.bias + offset * scale, requires_grad=False)
    layer.bn = nn.Identity()
