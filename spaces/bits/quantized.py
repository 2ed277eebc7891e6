"""Layers of few bits: what they read and their weights are rounded to grids, whose steps can be learned.

They are the layers of a simulation, of quantization-aware training, and of a quantized detector in a file. A step is
kept as its logarithm, so an optimizer moves it by a share of itself, and it stays above 0.
Sources: Esser 2020, Learned step size quantization (arXiv:1902.08153), its gradient and the scale of that; Jain 2020,
Trained quantization thresholds (arXiv:1903.08066), the logarithm.
"""

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn
from ultralytics.nn.modules.conv import Conv

from spaces.bits.layer_bits import FLOAT_BITS, LayerBits
from spaces.bits.ranges import Grid, grid_ends
from spaces.channels.blocks import layer_of
from spaces.networks.twin import Network, twin

QuantizableLayer = nn.Conv2d | nn.Linear


class _Rounded:
    """What both kinds of layers have beside their own.

    Attributes:
        bits: of weights and inputs.
        log_weight_scale: (C,) or (1,), the natural logarithm of the step of each output channel's weights.
        log_input_scale: (1,), of the step of what the layer reads.
        weight_zero_point: as long, int32; so is `input_zero_point`.
    """

    weight: Tensor
    bits: LayerBits
    is_weight_symmetric: bool
    is_input_symmetric: bool
    log_weight_scale: nn.Parameter
    log_input_scale: nn.Parameter
    weight_zero_point: Tensor
    input_zero_point: Tensor

    def weight_grid(self) -> Grid:
        """Return what the weights are rounded to, one row for each output channel or for all."""
        ends = grid_ends(self.bits.weight, is_symmetric=self.is_weight_symmetric)
        return Grid(self.log_weight_scale.detach().exp(), self.weight_zero_point, *ends)

    def input_grid(self) -> Grid:
        """Return what the layer rounds its inputs to."""
        ends = grid_ends(self.bits.activation, is_symmetric=self.is_input_symmetric)
        return Grid(self.log_input_scale.detach().exp(), self.input_zero_point, *ends)

    def rounded_weight(self) -> Tensor:
        """Return the weights on their grid, without a gradient."""
        return self.weight_grid().round(self.weight.detach())

    def _rounded(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the inputs and the weights on their grids, with gradients where these are wanted."""
        if not (torch.is_grad_enabled() and self.log_weight_scale.requires_grad):
            return self.input_grid().round(x.float()), self.rounded_weight()
        inputs = _learned(x.float(), self.log_input_scale, self.input_grid())
        return inputs, _learned(self.weight, self.log_weight_scale, self.weight_grid())


class QuantizedConv2d(_Rounded, nn.Conv2d):
    """A convolution of few bits."""

    def forward(self, x: Tensor) -> Tensor:
        """Return the convolution of `x` on its grid with the weights on theirs."""
        inputs, weight = self._rounded(x)
        convolved: Tensor = self._conv_forward(inputs, weight, self.bias)
        return convolved


class QuantizedLinear(_Rounded, nn.Linear):
    """A matrix product of few bits."""

    def forward(self, x: Tensor) -> Tensor:
        """Return the product of `x` on its grid and the weights on theirs."""
        inputs, weight = self._rounded(x)
        product: Tensor = nn.functional.linear(inputs, weight, self.bias)
        return product


QuantizedLayer = QuantizedConv2d | QuantizedLinear


def quantize_(layer: QuantizableLayer, bits: LayerBits, /, *, weights: Grid, inputs: Grid) -> None:
    """Make `layer` one of few `bits`, on these grids; its tensors stay the same."""
    layer.__class__ = QuantizedConv2d if isinstance(layer, nn.Conv2d) else QuantizedLinear
    assert isinstance(layer, QuantizedConv2d | QuantizedLinear)
    layer.bits = bits
    layer.is_weight_symmetric, layer.is_input_symmetric = weights.lowest < 0, inputs.lowest < 0
    layer.log_weight_scale = nn.Parameter(weights.scale.log())
    layer.log_input_scale = nn.Parameter(inputs.scale.log())
    layer.register_buffer("weight_zero_point", weights.zero_point)
    layer.register_buffer("input_zero_point", inputs.zero_point)


def as_float_(layer: QuantizableLayer, /) -> None:
    """Make `layer` one again that rounds nothing; its weights stay as they are."""
    layer.__class__ = nn.Conv2d if isinstance(layer, nn.Conv2d) else nn.Linear


def quantizable(model: nn.Module, /) -> dict[str, QuantizableLayer]:
    """Return the convolutions and linear layers of `model` by the names of their weights."""
    return {
        f"{name}.weight": layer for name, layer in model.named_modules() if isinstance(layer, nn.Conv2d | nn.Linear)
    }


def layers_by_name(model: nn.Module, /) -> dict[str, QuantizableLayer]:
    """Return the convolutions and linear layers of `model` by their short names, as in "2.cv1"."""
    return {layer_of(name): layer for name, layer in quantizable(model).items()}


def quantized_layers(model: nn.Module, /) -> dict[str, QuantizedLayer]:
    """Return the layers of `model` that have bits, by their short names."""
    return {
        name: layer
        for name, layer in layers_by_name(model).items()
        if isinstance(layer, QuantizedConv2d | QuantizedLinear)
    }


def allocation_of(model: nn.Module, /) -> dict[str, LayerBits]:
    """Return the bits of the layers that have any."""
    return {name: layer.bits for name, layer in quantized_layers(model).items()}


def bits_mean(model: nn.Module, /) -> float:
    """Return the mean bits of the weights of all convolutions and linear layers, 32 for each in float."""
    bits = {name: layer.bits.weight for name, layer in quantized_layers(model).items()}
    sizes = {name: layer.weight.numel() for name, layer in layers_by_name(model).items()}
    return sum(bits.get(name, FLOAT_BITS) * size for name, size in sizes.items()) / sum(sizes.values())


def quantized_blank(model: nn.Module, allocation: Mapping[str, LayerBits], /) -> nn.Module:
    """Return a copy of `model` whose layers have the bits of `allocation` on grids that are still to be filled in."""
    blank = twin(model)
    layers = layers_by_name(blank)
    for name, bits in allocation.items():
        zero = torch.zeros(1, dtype=torch.int32)
        weights = Grid(torch.ones(1), zero, *grid_ends(bits.weight, is_symmetric=True))
        inputs = Grid(torch.ones(1), zero, *grid_ends(bits.activation, is_symmetric=False))
        quantize_(layers[name], bits, weights=weights, inputs=inputs)
    return blank


def plain(model: Network, /) -> Network:
    """Return a copy of `model` in which layers of few bits are ordinary ones that hold the rounded weights.

    What they read is no longer rounded. Where BatchNorm was folded, Ultralytics sees a network that it fused itself.
    """
    copied = twin(model)
    for layer in quantized_layers(copied).values():
        weight = layer.rounded_weight()
        for name in ("log_weight_scale", "log_input_scale"):
            del layer._parameters[name]
        for name in ("weight_zero_point", "input_zero_point"):
            del layer._buffers[name]
        for name in ("bits", "is_weight_symmetric", "is_input_symmetric"):
            delattr(layer, name)
        layer.weight = nn.Parameter(weight)
        as_float_(layer)
    for block in copied.modules():
        if isinstance(block, Conv) and isinstance(getattr(block, "bn", None), nn.Identity):
            del block.bn
            block.forward = block.forward_fuse
    return copied


def _learned(x: Tensor, log_scale: Tensor, grid: Grid) -> Tensor:
    """Return `x` on `grid`, differentiable by `x`, straight through, and by the logarithm of the grid's step.

    The gradient by the step is divided by the root of how many values share it times the highest integer, as in LSQ.
    """
    damped = 1 / math.sqrt(x.numel() / len(log_scale) * max(grid.highest, 1))
    zero = grid.zero_point.float()
    if len(log_scale) == 1:
        rounded: Tensor = torch._fake_quantize_learnable_per_tensor_affine(
            x, log_scale.exp(), zero, grid.lowest, grid.highest, damped
        )
        return rounded
    by_channel: Tensor = torch._fake_quantize_learnable_per_channel_affine(
        x, log_scale.exp(), zero, 0, grid.lowest, grid.highest, damped
    )
    return by_channel
