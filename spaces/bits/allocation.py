"""Which option each layer gets so that the summed cost is least within limits: exactly, or a whole front in one sweep.

HiGHS is exact, half a second for a point. The sweep prices the resources of all points together (bit_prices.py), which
settles nearly every layer, and combines the others so that they fit (bit_rounding.py). Where that leaves a gap, the
layer that weighs most among the undecided is settled each way and the rest is priced anew: a little branch and bound.
"""

import ctypes
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import Bounds, LinearConstraint, milp
from scipy.sparse import csr_matrix

from spaces.bits.prices import Floats, price
from spaces.bits.rounding import N_OPEN, Choice, fits, reduced_costs, round_prices
from spaces.errors import OutOfReach

Tables = NDArray[np.float64]  # (n_resources, n_layers, n_options)

CLOSE = 3e-4  # above its bound a point is left as it is
N_LEVELS = 2
N_STATES = 2  # of a point at each level
N_KEPT = 6  # options a layer when it is priced anew, those that cost least at the prices before
SMOOTH_AGAIN = 0.01  # at first, when prices are found anew
SCALE = 1000.0  # of the rows that HiGHS sees, which it may exceed by 1e-6
LEAST = 1e-300


class Allocated(NamedTuple):
    """One point."""

    choice: Choice
    cost: float
    bound: float  # no allocation within the limits costs less


@dataclass(frozen=True, eq=False)
class _State:
    """A point with some of its layers settled.

    Attributes:
        costs: (n_layers, n_options), infinite where an option is ruled out.
    """

    point: int
    costs: Floats
    prices: Floats
    bound: float


def allocate(
    costs: Floats, resources: Tables, limits: Floats, /, *, gap: float = 0.0, seconds: float = 60.0
) -> Allocated:
    """Return the allocation of least cost whose `resources` are within `limits`, by HiGHS.

    Args:
        costs: (n_layers, n_options).
        resources: (n_resources, n_layers, n_options), at least 0.
        limits: (n_resources,) on the sums over the layers.
        gap: relative distance from the optimum at which it may stop.
        seconds: after which it returns the best so far.

    Raises:
        OutOfReach: no allocation is within the limits, or none was found in time.
    """
    _check_reach(resources, limits)
    n_layers, n_options = costs.shape
    unit = max(float(np.ptp(costs, axis=1).mean()), LEAST)
    rows = resources.reshape(len(limits), -1) / np.maximum(limits, LEAST)[:, None]
    one_each = csr_matrix(np.kron(np.eye(n_layers), np.ones(n_options)))
    with silent_stdout():
        found = milp(
            (costs / unit).ravel(),
            integrality=np.ones(costs.size),
            bounds=Bounds(0, 1),
            constraints=[LinearConstraint(one_each, 1, 1), LinearConstraint(SCALE * rows, -np.inf, SCALE)],
            options={"mip_rel_gap": gap, "time_limit": seconds},
        )
    if found.x is None:
        raise OutOfReach(f"no allocation of bits is within all of the limits together ({found.message:.80})")
    choice = found.x.reshape(costs.shape).argmax(1)
    return Allocated(choice, _cost(costs, choice), float(found.mip_dual_bound) * unit)


def allocate_front(costs: Floats, resources: Tables, limits: Floats, /) -> list[Allocated]:
    """Return for each row of `limits` (n_points, n_resources) an allocation that costs nearly the least.

    Raises:
        OutOfReach: some of the limits cannot be met, or no allocation within them was found.
    """
    for row in limits:
        _check_reach(resources, row)
    sweep = _Sweep(costs, resources, limits)
    sweep.price()
    for _ in range(N_LEVELS):
        sweep.settle()
    return [
        Allocated(choice, _cost(costs, choice), bound) for choice, bound in zip(sweep.best, sweep.bounds, strict=True)
    ]


class _Sweep:
    """All points at once; costs are in mean cost ranges of a layer, resources in fractions of their limits."""

    def __init__(self, costs: Floats, resources: Tables, limits: Floats) -> None:
        self._unit = max(float(np.ptp(costs, axis=1).mean()), LEAST)
        self._costs = np.where(_is_dominated(costs, resources), np.inf, costs / self._unit)
        self._uses = resources[None] / np.maximum(limits, LEAST)[:, :, None, None]
        self._order = np.argsort(limits.sum(1), kind="stable")
        self._found: dict[int, Choice] = {}
        self._least = np.full(len(limits), np.inf)
        self._bounds = np.zeros(len(limits))
        self._states: list[_State] = []

    @property
    def best(self) -> list[Choice]:
        """What was found for each point.

        Raises:
            OutOfReach: nothing was found for one of them.
        """
        if len(self._found) < len(self._least):
            raise OutOfReach("no allocation of bits was found within all of the limits together")
        return [self._found[point] for point in range(len(self._least))]

    @property
    def bounds(self) -> list[float]:
        """Below what each point cannot be."""
        return [float(bound) * self._unit for bound in self._bounds]

    def price(self) -> None:
        """Find the prices of all points and an allocation for each."""
        n_points, n_resources = self._uses.shape[:2]
        costs = np.broadcast_to(self._costs, (n_points, *self._costs.shape))
        priced = price(costs, self._uses, np.ones((n_points, n_resources)), smooth=1.0)
        self._bounds = priced.bounds
        rows = zip(range(n_points), costs, priced.prices, priced.bounds, strict=True)
        self._states = [_State(point, each, prices, float(bound)) for point, each, prices, bound in rows]
        self._round()

    def settle(self) -> None:
        """Settle a layer of each state each way, price the others anew, and go on from the best."""
        open_states = [state for state in self._states if self._is_open(state)]
        children = [
            _State(state.point, costs, state.prices, state.bound)
            for state in open_states
            for costs in _settled(state, self._uses[state.point])
        ]
        priced = self._priced(children) if children else []
        self._states = []
        for state in sorted(priced, key=lambda state: state.bound):
            if sum(other.point == state.point for other in self._states) < N_STATES and self._is_open(state):
                self._states.append(state)
        self._round()

    def _priced(self, states: Sequence[_State]) -> list[_State]:
        """Return `states` at prices of their own."""
        uses, costs = self._uses[[state.point for state in states]], np.stack([state.costs for state in states])
        start = np.maximum(np.stack([state.prices for state in states]), 1e-6)
        if costs.shape[2] > N_KEPT:
            at_prices = costs + np.einsum("mk,mklo->mlo", start, uses)
            kept = np.argpartition(at_prices, N_KEPT - 1, axis=2)[:, :, :N_KEPT]
            costs, uses = np.take_along_axis(costs, kept, 2), np.take_along_axis(uses, kept[:, None], 3)
        found = price(costs, uses, start, smooth=SMOOTH_AGAIN)
        rows = zip(states, found.prices, found.bounds, strict=True)
        return [_State(state.point, state.costs, prices, float(bound)) for state, prices, bound in rows]

    def _round(self) -> None:
        """Offer what the states come to; what fits a point is offered to the looser ones, too."""
        for state in self._states:
            least = self._least[state.point]
            open_layers = N_OPEN if np.isinf(least) else N_OPEN[-1:]
            uses, prices = self._uses[state.point], state.prices
            self._offer(state.point, round_prices(state.costs, uses, prices, least=least, n_open=open_layers))
        for before, after in zip(self._order[:-1], self._order[1:], strict=True):
            self._offer(int(after), self._found.get(int(before)))

    def _offer(self, point: int, choice: Choice | None) -> None:
        if choice is not None and fits(self._uses[point], choice):
            cost = _cost(self._costs, choice)
            if cost < self._least[point]:
                self._least[point], self._found[point] = cost, choice

    def _is_open(self, state: _State) -> bool:
        least = self._least[state.point]
        return bool(least - state.bound > CLOSE * abs(least)) or not np.isfinite(least)


def _settled(state: _State, uses: Floats) -> list[Floats]:
    """Return the costs of `state` with the layer that weighs most among the undecided settled, one way and the other.

    It is the layer with the least reduced cost of its second option for what that changes in the priced uses.
    """
    reduced = reduced_costs(state.costs, uses, state.prices)
    rows = np.arange(len(reduced))
    first = reduced.argmin(1)
    moved = np.abs(np.tensordot(state.prices, uses - uses[:, rows, first][:, :, None], 1))
    doubt = np.where(np.isfinite(reduced) & (moved > 0), reduced / np.maximum(moved, LEAST), np.inf)
    layer, second = divmod(int(doubt.argmin()), doubt.shape[1])
    if not np.isfinite(doubt[layer, second]):
        return []
    ways = []
    for option in (first[layer], second):
        costs = state.costs.copy()
        costs[layer] = np.where(np.arange(costs.shape[1]) == option, costs[layer], np.inf)
        ways.append(costs)
    return ways


def _is_dominated(costs: Floats, resources: Tables) -> NDArray[np.bool_]:
    """Return which options (n_layers, n_options) another of their layer is no worse than in anything."""
    everything = np.concatenate([costs[None], resources])
    pairs = np.asarray(everything[:, :, :, None] <= everything[:, :, None, :])
    no_worse = np.asarray(pairs.all(axis=0))  # (n_layers, i, j) whether i is no worse than j
    is_earlier = np.triu(np.ones(no_worse.shape[1:], bool), 1)
    return np.asarray((no_worse & (~no_worse.transpose(0, 2, 1) | is_earlier)).any(1))


def _cost(costs: Floats, choice: Choice) -> float:
    return float(costs[np.arange(len(choice)), choice].sum())


def _check_reach(resources: Tables, limits: Floats) -> None:
    lowest, highest = resources.min(2).sum(1), resources.max(2).sum(1)
    for index, limit in enumerate(limits):
        if limit < lowest[index]:
            span = f"from {lowest[index]:.4g} to {highest[index]:.4g}"
            raise OutOfReach(f"limit {index + 1} of the bits, {limit:.4g}, is out of reach: allocations take {span}")


@contextmanager
def silent_stdout() -> Iterator[None]:
    """Lose what C code writes to standard output inside the block: HiGHS 1.8 reports some of its steps with printf.

    What Python writes from other threads meanwhile is lost, too.
    """
    buffered = ctypes.CDLL(None)  # C's own buffer, which may hold lines of before and is written out late
    sys.stdout.flush()
    buffered.fflush(None)
    kept, nowhere = os.dup(1), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 1)
        yield
        buffered.fflush(None)
    finally:
        os.dup2(kept, 1)
        os.close(kept)
        os.close(nowhere)
