"""From what values a tensor takes to the grid of integers that they are rounded to.

Every range holds 0, which padding and empty channels need to be exact. Rounding itself is torch's fake quantization.
Sources: percentiles, mean squared error and entropy as in Wu 2020, Integer quantization for deep learning inference
(arXiv:2004.09602); the entropy's reference as in TensorRT 8-bit inference (Migacz 2017): what is cut off goes to the
outermost bins that are left.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

import torch
from torch import Tensor

N_BINS = 4096
PERCENTILE = 0.9999  # of the values, counted from each end
N_STEPS = 48  # tried clippings, from the whole range down to 1/48 of it
LEAST_SCALE = 1e-30  # below it torch's kernels divide by nothing

_TRIED_VALUES = 2**21  # at once: a tensor's clippings take one call instead of 47
_ROUNDS = ((True, True), (False, True), (True, False), (False, True))  # whether the low and the high end move


class RangeMethod(StrEnum):
    """How much of the values' range the grid spans."""

    MIN_MAX = "min_max"
    PERCENTILE = "percentile"
    MSE = "mse"
    ENTROPY = "entropy"


@dataclass(frozen=True, eq=False)
class Samples:
    """The values of each channel, or of a whole tensor as one channel.

    Attributes:
        values: (C, n), ascending.
        counts: (C, n), how often each was seen.
    """

    values: Tensor
    counts: Tensor

    @classmethod
    def of(cls, rows: Tensor, /) -> "Samples":
        """Return the samples that each row of `rows` (C, n) is."""
        return cls(rows.detach().sort(1).values, torch.ones_like(rows))


class Span(NamedTuple):
    """What a grid spans, for each channel; it holds 0."""

    low: Tensor  # (C,) at most 0
    high: Tensor  # (C,) at least 0


@dataclass(frozen=True, eq=False)
class Grid:
    """The values (k - zero_point) * scale for all k from `lowest` to `highest`.

    Attributes:
        scale: (C,) float32, above 0.
        zero_point: (C,) int32.
    """

    scale: Tensor
    zero_point: Tensor
    lowest: int
    highest: int

    def round(self, x: Tensor, /) -> Tensor:
        """Return `x` on the grid; with several channels its first dimension has one scale each."""
        if len(self.scale) == 1:
            step, zero = float(self.scale), int(self.zero_point)
            return torch.fake_quantize_per_tensor_affine(x, step, zero, self.lowest, self.highest)
        return torch.fake_quantize_per_channel_affine(x, self.scale, self.zero_point, 0, self.lowest, self.highest)


class Histogram:
    """Of a stream of values: bins of one width, which doubles, two bins becoming one, when the stream leaves them.

    Attributes:
        low: the least value so far.
        high: the greatest.
    """

    def __init__(self) -> None:
        self._width = 0.0
        self._start = 0  # the first bin is [start * width, (start + 1) * width)
        self._counts = torch.zeros(N_BINS, dtype=torch.int64)
        self.low, self.high = torch.inf, -torch.inf

    @property
    def is_zero(self) -> bool:
        """Whether all values so far were 0."""
        return self.low == self.high == 0

    def add(self, values: Tensor, /) -> None:
        """Count `values`.

        Raises:
            FloatingPointError: one of them is not finite.
        """
        low, high = (float(end) for end in values.aminmax())
        if not (abs(low) < torch.inf and abs(high) < torch.inf):
            raise FloatingPointError("activations must be finite, got NaN or infinity")
        self.low, self.high = min(self.low, low), max(self.high, high)
        if self.is_zero:
            self._counts[0] += values.numel()  # the bin that starts at 0, whatever its width will be
            return
        self._cover()
        places = (values.detach().flatten().float() / self._width).floor().long() - self._start
        self._counts += torch.bincount(places.clamp(0, N_BINS - 1).cpu(), minlength=N_BINS)

    def samples(self) -> Samples:
        """Return the middles of the bins, at the ends the extremes themselves."""
        used = self._counts.nonzero()[:, 0]
        middles = ((used + self._start + 0.5) * self._width).clamp(self.low, self.high)
        middles[0], middles[-1] = self.low, self.high
        return Samples(middles[None].float(), self._counts[used][None].float())

    def _cover(self) -> None:
        """Make the bins reach from `low` or 0 to `high` or 0."""
        low, high = min(self.low, 0.0), max(self.high, 0.0)
        width = self._width or 2 * (high - low) / N_BINS
        n_merged = 1
        while high // width - low // width >= N_BINS:
            width, n_merged = 2 * width, 2 * n_merged
        start = int(low // width)
        if (width, start) != (self._width, self._start):
            used = self._counts.nonzero()[:, 0]
            places = (used + self._start).div(min(n_merged, 2**62), rounding_mode="floor") - start
            self._counts = torch.zeros_like(self._counts).index_add_(0, places, self._counts[used])
            self._width, self._start = width, start


def fit_grid(samples: Samples, /, *, bits: int, is_symmetric: bool, method: RangeMethod) -> Grid:
    """Return the grid of `bits` for `samples`, its range by `method`.

    A channel that holds nothing but 0 gets scale 1, on which 0 is exact.
    """
    span = _span(samples.values[:, 0], samples.values[:, -1])
    if method is RangeMethod.PERCENTILE:
        span = _percentiles(samples)
    elif method is not RangeMethod.MIN_MAX:
        rounds = _ROUNDS[:1] if is_symmetric else _ROUNDS
        span = _search(samples, bits, method, is_symmetric=is_symmetric, rounds=rounds)
    return _grid(span, bits, is_symmetric)


def grid_ends(bits: int, /, *, is_symmetric: bool) -> tuple[int, int]:
    """Return the lowest and the highest integer of `bits`; a symmetric grid has one less, so that 0 is its middle."""
    return (1 - 2 ** (bits - 1), 2 ** (bits - 1) - 1) if is_symmetric else (0, 2**bits - 1)


def _span(low: Tensor, high: Tensor) -> Span:
    return Span(low.clamp(max=0), high.clamp(min=0))


def _grid(span: Span, bits: int, is_symmetric: bool) -> Grid:
    """Return the grid that spans `span`."""
    lowest, highest = grid_ends(bits, is_symmetric=is_symmetric)
    width = torch.maximum(-span.low, span.high) if is_symmetric else span.high - span.low
    scale = (width / highest).float()
    scale = torch.where(scale < LEAST_SCALE, 1.0, scale)
    zero = torch.zeros_like(scale) if is_symmetric else (-span.low / scale).round().clamp(lowest, highest)
    return Grid(scale, zero.to(torch.int32), lowest, highest)


def _percentiles(samples: Samples) -> Span:
    """Return what lies inside the outermost 0.01 % at each end."""
    shares = samples.counts.double().cumsum(1)
    shares = shares / shares[:, -1:]
    ends = [torch.searchsorted(shares, torch.full_like(shares[:, :1], at)) for at in (1 - PERCENTILE, PERCENTILE)]
    low, high = (samples.values.gather(1, end.clamp(max=shares.shape[1] - 1))[:, 0] for end in ends)
    return _span(low, high)


def _search(
    samples: Samples, bits: int, method: RangeMethod, *, is_symmetric: bool, rounds: Sequence[tuple[bool, bool]]
) -> Span:
    """Return the clipping with the least error by `method`, the ends that each of `rounds` names moved together."""
    whole = _span(samples.values[:, 0], samples.values[:, -1])
    best, least = whole, _ERRORS[method](samples, _grid(whole, bits, is_symmetric))
    n_channels, n_values = samples.values.shape
    n_tried = max(1, _TRIED_VALUES // (n_channels * n_values))
    for ends in rounds:
        fixed = best
        for shares in (torch.arange(1, N_STEPS) / N_STEPS).split(n_tried):
            tried = Span(*(_clipped(*each, shares) for each in zip(whole, fixed, ends, strict=True)))
            repeated = Samples(samples.values.repeat(len(shares), 1), samples.counts.repeat(len(shares), 1))
            errors = _ERRORS[method](repeated, _grid(tried, bits, is_symmetric)).view(len(shares), n_channels)
            found, place = errors.min(0)  # the first of equals
            is_better = found < least
            chosen = (end.view(len(shares), n_channels).gather(0, place[None])[0] for end in tried)
            best = Span(*(torch.where(is_better, new, old) for new, old in zip(chosen, best, strict=True)))
            least = torch.minimum(found, least)
    return best


def _clipped(whole: Tensor, fixed: Tensor, moves: bool, shares: Tensor) -> Tensor:
    """Return the ends of the clippings by each of `shares`, all channels of the first, then of the second (S * C,)."""
    return (whole * shares[:, None]).flatten() if moves else fixed.repeat(len(shares))


def _squared_error(samples: Samples, grid: Grid) -> Tensor:
    """Return the summed squared error of rounding to `grid`, (C,)."""
    return ((grid.round(samples.values) - samples.values).square() * samples.counts).sum(1)


def _divergence(samples: Samples, grid: Grid) -> Tensor:
    """Return the Kullback-Leibler divergence (C,) of the values, those beyond the grid at its ends, from the grid's.

    Each value of the grid gives its share evenly to the bins that round to it. Of fewer bins than values, nothing could
    be lost: such a clipping counts as infinitely far.
    """
    values, counts = samples.values.double(), samples.counts.double()
    places = values / grid.scale[:, None].double() + grid.zero_point[:, None]
    is_inside = (places >= grid.lowest - 0.5) & (places <= grid.highest + 0.5)
    kept = counts * is_inside
    level = places.round().clamp(grid.lowest, grid.highest).long() - grid.lowest
    n_levels = grid.highest - grid.lowest + 1
    mass = torch.zeros(len(values), n_levels, dtype=torch.float64)
    n_bins = torch.zeros_like(mass).scatter_add(1, level, (kept > 0).double())
    shared = (mass.scatter_add(1, level, kept) / n_bins.clamp(min=1)).gather(1, level) * is_inside
    first, last = _outermost(is_inside)
    below = (counts * (places < grid.lowest - 0.5)).sum(1, keepdim=True)
    above = (counts * (places > grid.highest + 0.5)).sum(1, keepdim=True)
    p = kept.scatter_add(1, first, below).scatter_add(1, last, above) * is_inside
    p, q = p / p.sum(1, keepdim=True), shared / shared.sum(1, keepdim=True)
    terms = torch.where(p > 0, p * (p / q.clamp(min=1e-300)).log(), 0.0).sum(1)
    return torch.where(is_inside.sum(1) >= n_levels, terms, torch.inf)


def _outermost(is_inside: Tensor) -> tuple[Tensor, Tensor]:
    """Return the first and the last column of each row (C, n) that is True, each (C, 1)."""
    flags = is_inside.long()
    return flags.argmax(1, keepdim=True), flags.shape[1] - 1 - flags.flip(1).argmax(1, keepdim=True)


_ERRORS: Mapping[RangeMethod, Callable[[Samples, Grid], Tensor]] = {
    RangeMethod.MSE: _squared_error,
    RangeMethod.ENTROPY: _divergence,
}
