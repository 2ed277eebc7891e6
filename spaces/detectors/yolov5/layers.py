"""Layers of light backbones, as grafted onto YOLOv5: what Ultralytics lacks or has in another form.

BatchNorm always sits in an Ultralytics `Conv`, where folding finds it.
Source: Han 2020, GhostNet (arXiv:1911.11907); Ma 2018, ShuffleNetV2 (arXiv:1807.11164); Howard 2019, MobileNetV3
(arXiv:1905.02244); Tan 2019, EfficientNet (arXiv:1905.11946); Cui 2021, PP-LCNet (arXiv:2109.15099); Hu 2018,
Squeeze-and-excitation (arXiv:1709.01507). Widths and orders are those of seed 002.
"""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn
from ultralytics.nn.modules.block import SPPF, Bottleneck
from ultralytics.nn.modules.conv import Conv

ACTIVATIONS: Mapping[str, Callable[[], nn.Module]] = {
    "relu": nn.ReLU,
    "relu6": nn.ReLU6,
    "hardswish": nn.Hardswish,
    "silu": nn.SiLU,
}


def sppf(c_in: int, c_out: int, kernel: int = 5) -> SPPF:
    """Return three chained poolings as YOLOv5 has them: Ultralytics took the first activation away for YOLO26."""
    layer = SPPF(c_in, c_out, kernel)
    layer.cv1.act = nn.SiLU()
    return layer


def bottleneck(c_in: int, c_out: int, shortcut: bool = True, groups: int = 1, expansion: float = 0.5) -> Bottleneck:
    """Return the bottleneck of YOLOv5, 1x1 then 3x3: on its own Ultralytics' has two 3x3."""
    return Bottleneck(c_in, c_out, shortcut, groups, k=(1, 3), e=expansion)


def activated_conv(c_in: int, c_out: int, kernel: int, stride: int, activation: str) -> Conv:
    """Return a convolution with the activation of that name.

    Raises:
        KeyError: an activation that is not in `ACTIVATIONS`.
    """
    return Conv(c_in, c_out, kernel, stride, act=ACTIVATIONS[activation]())


def _depthwise(channels: int, kernel: int, stride: int, act: nn.Module | bool) -> Conv:
    return Conv(channels, channels, kernel, stride, g=channels, act=act)


def _biased(layer: Conv) -> Conv:
    """Return `layer` with a bias in its convolution; BatchNorm makes it idle, but seed 002 has and counts it."""
    layer.conv.register_parameter("bias", nn.Parameter(torch.zeros(layer.conv.out_channels)))
    return layer


class SqueezeExcite(nn.Module):
    """Scales each channel by what the means of all channels say, in (0, 1)."""

    def __init__(self, channels: int, reduction: int) -> None:
        super().__init__()
        self.squeeze = nn.Conv2d(channels, max(channels // reduction, 1), 1)
        self.excite = nn.Conv2d(max(channels // reduction, 1), channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Return `x` (B, C, H, W), scaled."""
        gate: Tensor = self.excite(self.squeeze(x.mean((2, 3), keepdim=True)).relu())
        return x * gate.sigmoid()


def _gate(channels: int, reduction: int, *, is_there: bool) -> nn.Module:
    return SqueezeExcite(channels, reduction) if is_there else nn.Identity()


class GhostConv(nn.Module):
    """Half of the outputs from a 1x1 convolution, the other half from these by a depthwise 3x3."""

    def __init__(self, c_in: int, c_out: int, *, act: bool) -> None:
        super().__init__()
        self.primary = Conv(c_in, c_out // 2, act=act)
        self.cheap = _depthwise(c_out // 2, 3, 1, act)

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, c_out, H, W)."""
        made = self.primary(x)
        return torch.cat([made, self.cheap(made)], 1)


class GhostBottleneck(nn.Module):
    """Widens to `hidden` and narrows to `c_out` by ghost convolutions, beside a shortcut."""

    def __init__(self, c_in: int, c_out: int, hidden: int, stride: int, has_gate: bool) -> None:
        super().__init__()
        self.branch = nn.Sequential(
            GhostConv(c_in, hidden, act=True),
            _depthwise(hidden, 3, stride, act=False) if stride > 1 else nn.Identity(),
            _gate(hidden, 4, is_there=has_gate),
            GhostConv(hidden, c_out, act=False),
        )
        is_same = stride == 1 and c_in == c_out
        self.shortcut = (
            nn.Identity()
            if is_same
            else nn.Sequential(_depthwise(c_in, 3, stride, act=False), Conv(c_in, c_out, act=False))
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, c_out, H / stride, W / stride)."""
        made: Tensor = self.branch(x) + self.shortcut(x)
        return made


class ShuffleUnit(nn.Module):
    """Transforms half of the channels (with stride 2: all, twice) and shuffles the two halves of the result."""

    def __init__(self, c_in: int, c_out: int, stride: int) -> None:
        super().__init__()
        if stride == 1 and c_in != c_out:
            raise ValueError(f"a shuffle unit of stride 1 must keep its width, got {c_in} and {c_out}")
        self.is_split = stride == 1
        half = c_out // 2
        first = c_in // 2 if self.is_split else c_in
        self.branch = nn.Sequential(
            Conv(first, half, act=nn.ReLU()),
            _biased(_depthwise(half, 3, stride, act=False)),
            Conv(half, half, act=nn.ReLU()),
        )
        self.other = (
            nn.Identity()
            if self.is_split
            else nn.Sequential(_biased(_depthwise(c_in, 3, stride, act=False)), Conv(c_in, half, act=nn.ReLU()))
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, c_out, H / stride, W / stride)."""
        left, right = x.chunk(2, 1) if self.is_split else (x, x)
        joined = torch.cat([self.other(left), self.branch(right)], 1)
        batch, channels, height, width = joined.shape
        return joined.view(batch, 2, channels // 2, height, width).transpose(1, 2).reshape(joined.shape)


class ConvMaxPool(nn.Module):
    """The stem of ShuffleNetV2: a quarter of the image's sides."""

    def __init__(self, c_in: int, c_out: int) -> None:
        super().__init__()
        self.cv1 = Conv(c_in, c_out, 3, 2, act=nn.ReLU())
        self.pool = nn.MaxPool2d(3, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, c_out, H / 4, W / 4)."""
        pooled: Tensor = self.pool(self.cv1(x))
        return pooled


class MobileUnit(nn.Module):
    """The inverted residual of MobileNetV3, whose gate (if any) comes before the second activation."""

    def __init__(
        self, c_in: int, c_out: int, hidden: int, kernel: int, stride: int, has_gate: bool, activation: str
    ) -> None:
        super().__init__()
        act = ACTIVATIONS[activation]
        gate = _gate(hidden, 4, is_there=has_gate)
        if c_in == hidden:
            middle = [_depthwise(hidden, kernel, stride, act()), gate]
        else:
            middle = [Conv(c_in, hidden, act=act()), _depthwise(hidden, kernel, stride, act=False), gate, act()]
        self.branch = nn.Sequential(*middle, Conv(hidden, c_out, act=False))
        self.is_residual = stride == 1 and c_in == c_out

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, c_out, H / stride, W / stride)."""
        made: Tensor = self.branch(x)
        return x + made if self.is_residual else made


class MBConv(nn.Module):
    """The inverted residual of EfficientNet-Lite, `ratio` times as wide inside."""

    def __init__(self, c_in: int, c_out: int, kernel: int, stride: int, ratio: int, has_gate: bool = False) -> None:
        super().__init__()
        hidden = c_in * ratio
        self.branch = nn.Sequential(
            Conv(c_in, hidden, act=nn.ReLU6()) if ratio > 1 else nn.Identity(),
            _depthwise(hidden, kernel, stride, nn.ReLU6()),
            _gate(hidden, 4, is_there=has_gate),
            Conv(hidden, c_out, act=False),
        )
        self.is_residual = stride == 1 and c_in == c_out

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, c_out, H / stride, W / stride)."""
        made: Tensor = self.branch(x)
        return x + made if self.is_residual else made


class DepthSepConv(nn.Sequential):
    """The unit of PP-LCNet: depthwise, gate (if any), 1x1."""

    def __init__(self, c_in: int, c_out: int, kernel: int, stride: int, has_gate: bool) -> None:
        super().__init__(
            _depthwise(c_in, kernel, stride, nn.Hardswish()),
            _gate(c_in, 16, is_there=has_gate),
            Conv(c_in, c_out, act=nn.Hardswish()),
        )
