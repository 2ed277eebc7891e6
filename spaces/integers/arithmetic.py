"""The arithmetic of integers that stand for numbers: what is on a grid, and how it moves to another one.

A number is scale * (code - zero point). From one scale to another leads a multiplication by a whole number and a shift
that rounds half up; where all scales are powers of two, the shift alone.
Source: Jacob 2018, Quantization and training of neural networks for efficient integer-arithmetic-only inference
(arXiv:1712.05877), section 2.2.
"""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from spaces.bits.ranges import Grid, Samples

MANTISSA_BITS = 31  # of the multiplier of an int32 accumulator; the product has 63
MOST_SHIFT = 62


def encode(grid: Grid, x: Tensor, /) -> Tensor:
    """Return the codes of `x` on `grid`, a tensor's as of `unsigned`, halves rounded up, in uint8."""
    places = (x.double() / grid.scale.double() + 0.5).floor() + grid.zero_point
    return places.clamp(grid.lowest, grid.highest).to(torch.uint8)


def decode(grid: Grid, codes: Tensor, /) -> Tensor:
    """Return what `codes` stand for, in float64."""
    return (codes.double() - grid.zero_point) * grid.scale.double()


def unsigned(grid: Grid, /) -> Grid:
    """Return the same numbers with codes that count from 0."""
    return Grid(grid.scale, grid.zero_point - grid.lowest, 0, grid.highest - grid.lowest)


def is_same(first: Grid, second: Grid, /) -> bool:
    """Return whether equal codes on both tensors' grids stand for equal numbers."""
    pairs = ((float(grid.scale), int(grid.zero_point), grid.lowest, grid.highest) for grid in (first, second))
    return next(pairs) == next(pairs)


def power_of_two(grid: Grid, samples: Samples, /) -> Grid:
    """Return `grid` with each scale the power of two above or below it, whichever is closer to `samples` (C, n)."""
    exponents = grid.scale.double().log2()
    below, above = (_rescaled(grid, end.exp2()) for end in (exponents.floor(), exponents.ceil()))
    lost = [((each.round(samples.values) - samples.values).square() * samples.counts).sum(1) for each in (below, above)]
    is_below = (lost[0] < lost[1]).broadcast_to(grid.scale.shape)
    scale = torch.where(is_below, below.scale, above.scale)
    zero = torch.where(is_below, below.zero_point, above.zero_point)
    return replace(grid, scale=scale, zero_point=zero)


def _rescaled(grid: Grid, scale: Tensor) -> Grid:
    """Return `grid` with other scales, its lower end where it was, as far as that goes."""
    zero = (grid.zero_point * grid.scale.double() / scale).round().clamp(grid.lowest, grid.highest)
    return replace(grid, scale=scale.float(), zero_point=zero.to(torch.int32))


@dataclass(frozen=True, eq=False)
class Multiplier:
    """The factors mantissa / 2^shift, one for each channel or one for all.

    Attributes:
        mantissa: (C,) int64, at most 2^31 - 1.
        shift: (C,) int64, from 0 to 62.
    """

    mantissa: Tensor
    shift: Tensor

    @classmethod
    def of(cls, factors: Tensor, /) -> "Multiplier":
        """Return the nearest to `factors` (C,), all above 0 and below 2^31; of powers of two the mantissa is 1."""
        fraction, exponent = torch.frexp(factors.double())  # the fraction in [0.5, 1)
        mantissa = (fraction * 2**MANTISSA_BITS).round().clamp(max=2**MANTISSA_BITS - 1).long()
        shift = (MANTISSA_BITS - exponent.long()).clamp(0, MOST_SHIFT + MANTISSA_BITS)
        spare = torch.minimum((mantissa & -mantissa).double().log2().long(), shift)
        return cls(mantissa >> spare, (shift - spare).clamp(max=MOST_SHIFT))

    def __call__(self, x: Tensor, /) -> Tensor:
        """Return the int64 `x` (B, C, ...), which fit int32, times the factors, halves rounded up."""
        mantissa, shift = (each.view(1, -1, *[1] * (x.ndim - 2)) for each in (self.mantissa, self.shift))
        return rounded_shift(x * mantissa, shift)


def rounded_shift(x: Tensor, shift: Tensor, /) -> Tensor:
    """Return the int64 `x` / 2^shift, halves rounded up."""
    half = (torch.ones_like(shift) << shift) >> 1
    return (x + half) >> shift
