"""Prices of limited resources at which every layer may choose its option on its own.

With prices p on the uses u of resources whose limits are 1, the least cost + p u of each layer, summed, less the sum of
p, is never above what the best allocation costs; the prices that make it largest come close (Everett 1963, generalized
Lagrange multipliers; Shoham 1988 for bits). Minima are smoothed, prices held above 0 by a barrier, both fading, so that
Newton's method finds the prices of all problems at once.
"""

from itertools import combinations_with_replacement
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

SHARPEST = 1e-7  # options that differ by less are as good as equal, in mean cost ranges of a layer
FADING, N_STEPS = 0.3, 2  # of the smoothing, and Newton steps at each
DAMPING = 1e-9  # of the curvature, which two resources that are used alike make singular
DEAREST = 1e9  # of prices, which grow for ever where nothing is within the limits
N_HALVINGS = 12  # of a step that overshoots, at most


class Priced(NamedTuple):
    """Of m problems."""

    prices: Floats  # (m, n_resources)
    bounds: Floats  # (m,), no allocation costs less


class _Slope(NamedTuple):
    value: Floats  # (m,)
    gradient: Floats  # (m, n_resources)
    curvature: Floats  # (m, n_resources, n_resources)


def price(costs: Floats, uses: Floats, start: Floats, /, *, smooth: float) -> Priced:
    """Return the prices of m problems.

    Args:
        costs: (m, n_layers, n_options); infinite where an option is ruled out.
        uses: (m, n_resources, n_layers, n_options), in fractions of each limit.
        start: (m, n_resources), prices above 0 to begin with.
        smooth: how far apart costs are that are taken for equal at first.
    """
    dual = _Dual(costs.transpose(2, 0, 1), uses.transpose(1, 3, 0, 2))
    prices = start
    while smooth > SHARPEST:
        for _ in range(N_STEPS):
            prices = dual.stepped(prices, smooth)
        smooth *= FADING
    return Priced(prices, dual.bounds(prices))


class _Dual:
    """The smoothed dual of m problems; options come first, so that sums over them run along whole layers."""

    def __init__(self, costs: Floats, uses: Floats) -> None:
        self._costs = np.ascontiguousarray(costs)  # (n_options, m, n_layers)
        self._uses = np.ascontiguousarray(uses)  # (n_resources, n_options, m, n_layers)

    def bounds(self, prices: Floats) -> Floats:
        """Return what no allocation is below, (m,)."""
        return np.asarray(self._at(prices).min(0).sum(1) - prices.sum(1))

    def stepped(self, prices: Floats, smooth: float) -> Floats:
        """Return `prices` (m, n_resources) after one damped Newton step that keeps them above 0."""
        here = self._slope(prices, smooth)
        direction = np.linalg.solve(here.curvature, -here.gradient[..., None])[..., 0]
        falls = direction < 0
        reach = np.where(falls, 0.9 * prices / np.where(falls, -direction, 1.0), 1.0)
        length = np.minimum(reach.min(1), 1.0)[:, None]
        tried: Floats = np.minimum(prices + length * direction, DEAREST)
        worse, part = np.arange(len(prices)), self
        for _ in range(N_HALVINGS):
            is_worse = part._value(tried[worse], smooth) < here.value[worse] - 1e-9 * np.abs(here.value[worse])
            worse = worse[is_worse]
            if not len(worse):
                break
            length[worse] /= 2
            tried[worse] = prices[worse] + length[worse] * direction[worse]
            part = self._part(worse)
        tried[worse] = prices[worse]
        return tried

    def _part(self, rows: NDArray[np.int64]) -> "_Dual":
        return _Dual(self._costs[:, rows], self._uses[:, :, rows])

    def _at(self, prices: Floats) -> Floats:
        found = self._costs.copy()
        for use, each in zip(self._uses, prices.T, strict=True):
            found += use * each[:, None]
        return found

    def _chances(self, prices: Floats, smooth: float) -> tuple[Floats, Floats]:
        """Return the weight of each option, at most 1, and the smoothed minima (m, n_layers)."""
        chances = self._at(prices)
        least = chances.min(0)
        chances -= least
        chances /= -smooth
        np.exp(chances, out=chances)
        return chances, least - smooth * np.log(chances.sum(0))

    def _value(self, prices: Floats, smooth: float) -> Floats:
        return _total(self._chances(prices, smooth)[1], prices, smooth)

    def _slope(self, prices: Floats, smooth: float) -> _Slope:
        chances, minima = self._chances(prices, smooth)
        chances /= chances.sum(0)
        weighted = [chances * use for use in self._uses]
        means = np.stack([each.sum(0) for each in weighted])  # (n_resources, m, n_layers)
        curvature = np.einsum("kml,jml->mkj", means, means) / smooth
        for k, j in combinations_with_replacement(range(len(weighted)), 2):
            second = np.einsum("oml,oml->m", weighted[k], self._uses[j]) / smooth
            curvature[:, k, j] -= second
            curvature[:, j, k] -= second if k != j else 0.0
        diagonal = np.arange(len(weighted))
        curvature[:, diagonal, diagonal] *= 1 + DAMPING
        curvature[:, diagonal, diagonal] -= smooth / prices**2 + DAMPING
        gradient = means.sum(2).T - 1 + smooth / prices
        return _Slope(_total(minima, prices, smooth), gradient, curvature)


def _total(minima: Floats, prices: Floats, smooth: float) -> Floats:
    return np.asarray(minima.sum(1) - prices.sum(1) + smooth * np.log(prices).sum(1))
