"""From layers to sums of integers: weights and biases as whole numbers, and the proof that the sums fit int32."""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.fx import Node

from spaces.bits.quantized import QuantizedConv2d
from spaces.bits.ranges import Grid, RangeMethod, Samples, fit_grid
from spaces.channels.aten import shape_of
from spaces.errors import BadInput
from spaces.integers.arithmetic import power_of_two
from spaces.integers.steps import Convolution, Rescaling

BIAS_BITS = 30  # of them at most, so that there is room for the products
WEIGHT_BITS = 8  # of a layer that cannot have bits, and must not run in floats
LEAST_SCALE = 2.0**-100  # of a channel that is nothing but 0


class _Whole(NamedTuple):
    """Weights (O, ...) and biases (O,) as int32, and the weights' scales (O,)."""

    weight: Tensor
    bias: Tensor
    scale: Tensor


def convolution(
    layer: QuantizedConv2d, node: Node, read: Rescaling, /, *, made: Grid | None, is_power_of_two: bool
) -> Convolution:
    """Return the layer of few bits that `node` is.

    Raises:
        BadInput: its sums may leave int32.
    """
    grid, weight = layer.weight_grid(), layer.weight.detach()
    if is_power_of_two:
        grid = power_of_two(grid, Samples.of(weight.flatten(1) if len(grid.scale) > 1 else weight.flatten()[None]))
    whole = _whole(grid, weight, layer.bias, read.made)
    return Convolution(_Products(node), read, whole.weight, whole.scale, whole.bias, made)


def transposed(
    weight: Tensor, bias: Tensor | None, node: Node, read: Rescaling, /, *, made: Grid, is_power_of_two: bool
) -> Convolution:
    """Return the transposed convolution that `node` is, its weights (I, O, H, W) rounded to 8 bits here.

    Raises:
        BadInput: it has groups, or its sums may leave int32.
    """
    if len(node.args) > 6 and node.args[6] != 1:
        raise BadInput("the integer-only path has no transposed convolution with groups")
    rows = weight.transpose(0, 1)
    samples = Samples.of(rows.flatten(1))
    grid = fit_grid(samples, bits=WEIGHT_BITS, is_symmetric=True, method=RangeMethod.MSE)
    whole = _whole(power_of_two(grid, samples) if is_power_of_two else grid, rows, bias, read.made)
    codes = whole.weight.transpose(0, 1).long()  # torch has no transposed convolution of int32
    return Convolution(_Products(node), read, codes, whole.scale, whole.bias, made, channels=1)


def mean(node: Node, read: Rescaling, /, *, made: Grid) -> Convolution:
    """Return the mean over windows that `node` is: sums of weight 1, of a window's nth part.

    Raises:
        BadInput: margins do not count, or windows reach over the edge.
    """
    given = dict(enumerate(node.args))
    size, stride, padding = given[1], given.get(2), _pair(given.get(3, 0))
    if given.get(4) or given.get(6) is not None or (any(padding) and not given.get(5, True)):
        raise BadInput("the integer-only path has no avg_pool2d whose windows differ in size")
    channels, window = shape_of(node)[1], _pair(size)
    steps = _pair(stride or size)
    weight = torch.ones(channels, 1, *window, dtype=torch.int32)
    scale = torch.full((channels,), 1 / (window[0] * window[1]), dtype=torch.float64)

    def operation(x: Tensor, ones: Tensor) -> Tensor:
        return torch.nn.functional.conv2d(x, ones, None, steps, padding, groups=channels)

    return Convolution(operation, read, weight, scale, torch.zeros(channels, dtype=torch.int32), made)


def _pair(value: object) -> tuple[int, int]:
    ends = [int(end) for end in value] if isinstance(value, list | tuple) else [int(str(value))]
    return ends[0], ends[-1]


class _Products:
    """The convolution that a node is, on any inputs and weights, without its bias."""

    def __init__(self, node: Node) -> None:
        self._target, self._arguments = node.target, node.args[3:]

    def __call__(self, x: Tensor, weight: Tensor, /) -> Tensor:
        made: Tensor = self._target(x, weight, None, *self._arguments)  # type: ignore[operator]
        return made


def _whole(grid: Grid, weight: Tensor, bias: Tensor | None, read: Grid) -> _Whole:
    """Return `weight` (O, ...) on `grid` and the bias on the products' scale, coarser where the bias needs it.

    Raises:
        BadInput: a sum of products with what is on `read` may leave int32.
    """
    width = [-1, *[1] * (weight.ndim - 1)]
    scale = grid.scale.double().broadcast_to(len(weight))
    codes = (grid.round(weight).double() / scale.view(width)).round()
    bias = torch.zeros(len(weight)) if bias is None else bias.detach()
    needed = (bias.double().abs() / (float(read.scale) * 2**BIAS_BITS)).log2().ceil().exp2()
    raised = torch.where(codes.flatten(1).any(1), scale, 0.0).maximum(needed).clamp(min=LEAST_SCALE)
    codes = (codes * (scale / raised).view(width)).round().long()
    whole_bias = (bias.double() / (float(read.scale) * raised)).round().long()
    reach = max(int(read.zero_point), read.highest - int(read.zero_point))
    most = int((codes.flatten(1).abs().sum(1) * reach + whole_bias.abs()).max())
    if most >= 2**31:
        raise BadInput(f"sums of a layer must fit int32, got up to {most}")
    return _Whole(codes.int(), whole_bias.int(), raised)
