"""BatchNorm folded into the convolutions before it: the same outputs with less to do, in a copy to be looked at."""

import torch
from torch import Tensor, nn
from ultralytics.nn.modules.conv import Conv

from spaces.networks.autocast import exact_products
from spaces.networks.twin import twin


@torch.no_grad()
def fold_bn(model: nn.Module, /) -> nn.Module:
    """Return a copy of `model` in eval mode without BatchNorm; it shares all other tensors, so it must not be trained.

    Outputs differ from those of `model` by float32 rounding.
    """
    folded = twin(model).eval()
    for layer in folded.modules():
        if isinstance(layer, Conv) and isinstance(getattr(layer, "bn", None), nn.BatchNorm2d):
            _fold_(layer)
    return folded


def keep_outputs_exact_(folded: nn.Module, /) -> None:
    """Let the last layer's own convolutions, which make the outputs, run in float32 under any `products_in`.

    They are one percent of the work, and rounding them causes half of the error: equal scores, boxes off by a pixel.
    """
    head = list(folded.children())[-1][-1]  # type: ignore[index]
    inner = {id(layer.conv) for layer in head.modules() if isinstance(layer, Conv)}
    for layer in head.modules():
        if type(layer) is nn.Conv2d and id(layer) not in inner:
            layer.__class__ = _ExactConv


class _ExactConv(nn.Conv2d):
    """A convolution in float32."""

    def forward(self, x: Tensor) -> Tensor:
        with exact_products():
            return super().forward(x.float())


def _fold_(layer: Conv) -> None:
    conv, bn = layer.conv, layer.bn
    scale = bn.weight * torch.rsqrt(bn.running_var + bn.eps)
    offset = -bn.running_mean if conv.bias is None else conv.bias - bn.running_mean
    conv.weight = nn.Parameter(conv.weight * scale.view(-1, 1, 1, 1), requires_grad=False)
    conv.bias = nn.Parameter(bn.bias + offset * scale, requires_grad=False)
    layer.bn = nn.Identity()
