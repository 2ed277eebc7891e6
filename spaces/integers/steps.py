"""What an integer-only detector is made of: each step on codes, and beside it the same on the numbers they stand for.

The second is the simulation: floats that lie on the grids of the same tensors, computed without integers in float64.
Both round half up, at the same places.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from spaces.bits.ranges import Grid
from spaces.integers.arithmetic import Multiplier, decode, encode, is_same, rounded_shift

SUM_BITS = 22  # of the multipliers of a sum: with two terms of 8 bits it stays in int32

Products = Callable[[Tensor, Tensor], Tensor]  # of inputs and weights, without a bias


class Step(Protocol):
    """Makes one tensor of others.

    Attributes:
        made: what the tensor's codes stand for; None if it is dequantized.
    """

    @property
    def made(self) -> Grid | None:
        """What the codes stand for."""
        ...

    def codes(self, *read: Tensor) -> Tensor:
        """Return the codes that are made of the codes `read`, or dequantized numbers."""
        ...

    def numbers(self, *read: Tensor) -> Tensor:
        """Return the same in float64 of numbers that lie on grids."""
        ...


@dataclass(frozen=True, eq=False)
class Entry:
    """Puts the images on a grid."""

    made: Grid

    def codes(self, *read: Tensor) -> Tensor:
        """Return the codes of images."""
        return encode(self.made, read[0])

    def numbers(self, *read: Tensor) -> Tensor:
        """Return the images, rounded."""
        return snapped(self.made, read[0])


@dataclass(frozen=True, eq=False)
class Rescaling:
    """Moves codes to another grid."""

    read: Grid
    made: Grid

    def codes(self, *read: Tensor) -> Tensor:
        """Return the codes on the grid that is made."""
        if is_same(self.read, self.made):
            return read[0]
        factor = self.read.scale.double() / self.made.scale.double()
        return _clamped(Multiplier.of(factor)(read[0].long() - self.read.zero_point), self.made)

    def numbers(self, *read: Tensor) -> Tensor:
        """Return the numbers on the grid that is made."""
        return snapped(self.made, read[0])


@dataclass(frozen=True, eq=False)
class Convolution:
    """Whole-numbered sums, rescaled.

    Attributes:
        operation: the convolution, whatever its strides and groups; or its transpose, or a mean over windows.
        read: from what the tensor is on to what the layer reads.
        weight: int32 or int64, as `operation` wants it and the inputs.
        weight_scale: (O,) float64.
        bias: (O,) int32.
        made: None for a layer whose outputs are dequantized.
        channels: the dimension of `weight` that is that of the outputs.
    """

    operation: Products
    read: Rescaling
    weight: Tensor
    weight_scale: Tensor
    bias: Tensor
    made: Grid | None
    channels: int = 0

    @property
    def unit(self) -> Tensor:
        """What 1 in an accumulator of each channel stands for, (O,)."""
        return self.read.made.scale.double() * self.weight_scale

    def multiplier(self) -> Multiplier | None:
        """Return what leads from accumulators to the grid that is made."""
        return None if self.made is None else Multiplier.of(self.unit / self.made.scale.double())

    def accumulators(self, codes: Tensor, /) -> Tensor:
        """Return the sums (B, O, H, W), which fit int32."""
        read = self.read.codes(codes).to(self.weight.dtype) - self.read.made.zero_point
        return self.operation(read, self.weight) + self.bias.view(1, -1, 1, 1)

    def sums(self, numbers: Tensor, /) -> Tensor:
        """Return what the accumulators stand for, computed in float64."""
        scale = self.weight_scale.view(1, -1, 1, 1).transpose(1, self.channels)
        made = self.operation(self.read.numbers(numbers), self.weight.double() * scale)
        return made + (self.bias * self.unit).view(1, -1, 1, 1)

    def codes(self, *read: Tensor) -> Tensor:
        """Return the sums on the grid that is made."""
        sums, multiplier = self.accumulators(read[0]), self.multiplier()
        if self.made is None or multiplier is None:
            return sums * self.unit.view(1, -1, 1, 1)
        return _clamped(multiplier(sums.long()), self.made)

    def numbers(self, *read: Tensor) -> Tensor:
        """Return the sums, rounded to the grid that is made."""
        sums = self.sums(read[0])
        return sums if self.made is None else snapped(self.made, sums)


@dataclass(frozen=True, eq=False)
class Lookup:
    """A function of single numbers, as a table of all codes."""

    function: Callable[[Tensor], Tensor]
    read: Grid
    made: Grid

    def table(self) -> Tensor:
        """Return the code that is made of each code, uint8 (levels,)."""
        levels = torch.arange(self.read.highest + 1)
        return encode(self.made, self.function(decode(self.read, levels)))

    def codes(self, *read: Tensor) -> Tensor:
        """Return what the table holds at the codes."""
        return self.table()[read[0].int()]

    def numbers(self, *read: Tensor) -> Tensor:
        """Return the function's values, rounded."""
        return snapped(self.made, self.function(read[0]))


@dataclass(frozen=True, eq=False)
class Sum:
    """The sum of two tensors, each times its own multiplier, shifted together: all in int32."""

    read: Sequence[Grid]
    made: Grid

    def codes(self, *read: Tensor) -> Tensor:
        """Return the sum on the grid that is made."""
        factors = torch.stack([grid.scale.double().squeeze() for grid in self.read]) / self.made.scale.double()
        shift = (SUM_BITS - torch.frexp(factors.max()).exponent.long()).clamp(min=0)
        mantissas = (factors * shift.double().exp2()).round().long()
        terms = [
            mantissa * (codes.long() - grid.zero_point)
            for mantissa, codes, grid in zip(mantissas, read, self.read, strict=True)
        ]
        return _clamped(rounded_shift(terms[0] + terms[1], shift), self.made)

    def numbers(self, *read: Tensor) -> Tensor:
        """Return the sum, rounded."""
        return snapped(self.made, read[0] + read[1])


@dataclass(frozen=True, eq=False)
class Join:
    """Tensors joined along their channels, each moved to the common grid first."""

    read: Sequence[Grid]
    made: Grid

    def codes(self, *read: Tensor) -> Tensor:
        """Return the joined codes."""
        pairs = zip(self.read, read, strict=True)
        return torch.cat([Rescaling(grid, self.made).codes(codes) for grid, codes in pairs], 1)

    def numbers(self, *read: Tensor) -> Tensor:
        """Return the joined numbers, rounded."""
        return snapped(self.made, torch.cat(read, 1))


@dataclass(frozen=True, eq=False)
class Margin:
    """A margin of zeros."""

    widths: Sequence[int]
    made: Grid

    def codes(self, *read: Tensor) -> Tensor:
        """Return the codes with zero points around them."""
        return torch.nn.functional.pad(read[0], list(self.widths), value=int(self.made.zero_point))

    def numbers(self, *read: Tensor) -> Tensor:
        """Return the numbers with zeros around them."""
        return torch.nn.functional.pad(read[0], list(self.widths))


@dataclass(frozen=True, eq=False)
class Passing:
    """What chooses and moves numbers, none of them changed: codes go the same way."""

    operation: Callable[[Tensor], Tensor]
    made: Grid

    def codes(self, *read: Tensor) -> Tensor:
        """Return the codes where they belong."""
        return self.operation(read[0])

    numbers = codes


def snapped(grid: Grid, x: Tensor, /) -> Tensor:
    """Return `x` on `grid`, halves rounded up, in float64."""
    return decode(grid, encode(grid, x))


def _clamped(places: Tensor, grid: Grid) -> Tensor:
    """Return the codes of int64 `places` from the zero point."""
    return (places + grid.zero_point).clamp(grid.lowest, grid.highest).to(torch.uint8)
