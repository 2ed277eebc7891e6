"""From prices to an allocation: the layers that the prices leave open, combined so that the limits are used up.

What an allocation costs above the bound is the sum of its options' reduced costs, each above the layer's least at the
prices, and the price of what it leaves unused. So layers go into two halves, of each half the combinations with the
least reduced costs are listed, and all pairs of them are looked at together (Horowitz 1974, meeting in the middle).
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Choice = NDArray[np.int64]  # (n_layers,)

N_OPEN = (28, 52)  # the first to know what need not be listed at the second
N_OPTIONS = 4  # of a layer
N_LISTED = 500  # combinations of a half: those with the least reduced costs,
N_STRATA = 320  # and of each of so many amounts that each resource is used the one with the least
N_TOGETHER = 64  # combinations of one half that meet those of the other at once
DEARER = (1.0, 1.02, 1.1, 1.5, 4.0, 32.0)  # times the prices, where nothing near them fits


class _Half(NamedTuple):
    """Combinations of the options of some layers."""

    layers: Choice
    grown: Sequence[tuple[Choice, Choice]]  # after each layer, from which combination each is, and with which option
    sums: Floats  # (n,) of reduced costs, ascending
    costs: Floats  # (n,)
    uses: Floats  # (n_resources, n)

    def options(self, place: int) -> Choice:
        """Return the options of one combination, (n_layers of the half,)."""
        found = []
        for parents, options in reversed(self.grown):
            found.append(int(options[place]))
            place = int(parents[place])
        return np.array(found[::-1], np.int64)


def round_prices(
    costs: Floats, uses: Floats, prices: Floats, /, *, least: float = np.inf, n_open: Sequence[int] = N_OPEN
) -> Choice | None:
    """Return a good allocation near what each layer chooses at `prices`; None if none below `least` is found.

    Args:
        costs: (n_layers, n_options); infinite where an option is ruled out.
        uses: (n_resources, n_layers, n_options), in fractions of each limit.
        prices: (n_resources,).
        n_open: how many layers are combined, those whose second option is the nearest, at each try.
    """
    for factor in DEARER:
        found = None
        for number in n_open:
            better = _combined(costs, uses, factor * prices, n_open=number, least=least)
            if better is not None:
                found, least = better, _cost(costs, better)
        if found is not None or np.isfinite(least):
            return found
    return None


def reduced_costs(costs: Floats, uses: Floats, prices: Floats, /) -> Floats:
    """Return what each option costs at `prices` above the least of its layer, (n_layers, n_options)."""
    at_prices = costs + np.tensordot(prices, uses, 1)
    return np.asarray(at_prices - at_prices.min(1, keepdims=True))


def fits(uses: Floats, choice: Choice, /) -> bool:
    """Return whether `choice` keeps within all limits."""
    return bool((_used(uses, choice) <= 1).all())


def _used(uses: Floats, choice: Choice) -> Floats:
    return np.asarray(uses[:, np.arange(len(choice)), choice].sum(1))


def _cost(costs: Floats, choice: Choice) -> float:
    return float(costs[np.arange(len(choice)), choice].sum())


def _combined(costs: Floats, uses: Floats, prices: Floats, *, n_open: int, least: float) -> Choice | None:
    """Return the cheapest of the listed allocations that fit and cost less than `least`."""
    reduced = reduced_costs(costs, uses, prices)
    choice: Choice = reduced.argmin(1)
    bound = _cost(costs, choice) - float(prices @ (1 - _used(uses, choice)))
    layers = _halves(costs, reduced, n_open)
    listed = [_listed(uses, reduced, half, most=least - bound) for half in layers]
    one, other = (_with_costs(half, costs, uses, prices) for half in listed)
    rows = np.setdiff1d(np.arange(len(choice)), np.concatenate(layers))
    left = 1 - uses[:, rows, choice[rows]].sum(1) - 1e-12
    spent = float(costs[rows, choice[rows]].sum())
    met = _met(one, other, left, least=least - spent, bound=bound - spent)
    if met is None:
        return None
    choice[one.layers], choice[other.layers] = one.options(met[0]), other.options(met[1])
    return choice


def _met(one: _Half, other: _Half, left: Floats, *, least: float, bound: float) -> tuple[int, int] | None:
    """Return the pair that costs least of those that fit into what is `left`; None if none is below `least`.

    A pair costs at least `bound` and its reduced costs: most are too dear already by these.
    """
    best = None
    for start in range(0, len(one.sums), N_TOGETHER):
        n_near = int(np.searchsorted(other.sums, least - bound - one.sums[start]))
        if not n_near:
            break
        some = slice(start, start + N_TOGETHER)
        totals = one.costs[some, None] + other.costs[:n_near]
        for free, first, second in zip(left, one.uses[:, some], other.uses[:, :n_near], strict=True):
            totals[first[:, None] > free - second] = np.inf
        place = int(totals.argmin())
        if totals.flat[place] < least:
            least, best = float(totals.flat[place]), (start + place // n_near, place % n_near)
    return best


def _halves(costs: Floats, reduced: Floats, n_open: int) -> tuple[Choice, Choice]:
    """Return the layers whose second options are the nearest: those that make great changes, and those for the rest."""
    rows = np.arange(len(costs))
    first, second = np.argsort(reduced, axis=1, kind="stable")[:, :2].T
    step = np.abs(costs[rows, second] - costs[rows, first])  # at the prices, as much as its uses change
    ranked = np.argsort(reduced[rows, second], kind="stable")[:n_open]
    ranked = ranked[np.isfinite(reduced[ranked, second[ranked]])]
    by_step = ranked[np.argsort(step[ranked], kind="stable")]
    return by_step[len(ranked) // 2 :], by_step[: len(ranked) // 2]


def _listed(uses: Floats, reduced: Floats, layers: Choice, *, most: float) -> _Half:
    """Return combinations of options of `layers` with small reduced costs, up to `most`, also where they use more."""
    sums, used = np.zeros(1), np.zeros((len(uses), 1))
    grown = []
    for layer in layers:
        near = np.argsort(reduced[layer], kind="stable")[:N_OPTIONS]
        near = near[np.isfinite(reduced[layer, near]) & (reduced[layer, near] <= most)]
        more = (sums[:, None] + reduced[layer, near]).ravel()
        more_uses = (used[:, :, None] + uses[:, layer, near][:, None]).reshape(len(uses), -1)
        order = _selected(more, more_uses, most)
        sums, used = more[order], more_uses[:, order]
        grown.append((order // len(near), near[order % len(near)]))
    return _Half(layers, grown, sums, sums, used)


def _with_costs(half: _Half, costs: Floats, uses: Floats, prices: Floats) -> _Half:
    """Return `half` with its costs, which are what remains of reduced costs without the prices of its uses."""
    floor = (costs[half.layers] + np.tensordot(prices, uses[:, half.layers], 1)).min(1).sum()
    return half._replace(costs=floor + half.sums - prices @ half.uses)


def _selected(sums: Floats, uses: Floats, most: float) -> Choice:
    """Return which combinations stay, those with the least `sums` first."""
    order = np.argsort(sums)
    order = order[: int(np.searchsorted(sums[order], most, side="right")) or 1]
    if len(order) <= N_LISTED:
        return order
    stays = np.zeros(len(order), bool)
    stays[:N_LISTED] = True
    backwards = np.arange(len(order))[::-1]
    for use in uses[:, order[::-1]]:
        low, high = use.min(), use.max()
        firsts = np.zeros(N_STRATA, np.int64)
        firsts[((use - low) * ((N_STRATA - 1) / max(high - low, 1e-300))).astype(np.int64)] = (
            backwards  # the last stays
        )
        stays[firsts] = True
    return order[stays]
