"""A space of widths and bits together: draws and children that share their limits between the two.

What is too much can be made good by fewer channels, by fewer bits, or by some of both. So a draw first chooses how many
bits it will have on average, then gets the widths that would meet the limits with these, then each layer's own bits.
Size and BOPs know both; MACs and parameters know widths alone.
"""

from collections.abc import Mapping

import numpy as np

from spaces.bits.bit_steps import LEAST, Bids, Flags, narrowed, priced, widened
from spaces.bits.layer_bits import BIT_COSTS, FLOAT_BITS, BitTable, Choice, from_picks, to_picks
from spaces.candidate import Candidate
from spaces.errors import BadInput, OutOfReach
from spaces.searchable import SearchSpace
from spaces.space import TOLERANCE, Floats, Gene, Keep, Space

RATE = 0.1  # of the layers' bits that a mutation redraws
DRIFT = 0.2  # standard deviation of the logarithm by which a mutant's bits and widths trade limits with each other
TIGHTER = 0.98  # each time that widths leave no bits few enough
TRIES = 20
N_TOPPED = 3

WIDTH_COSTS = ("macs_g", "params_m")
_AS_FLOAT = {"size_mb": ("size_mb", 1.0), "bops_g": ("macs_g", float(FLOAT_BITS**2))}  # the cost of widths, and units

Limits = Mapping[str, float]


def costs_of(space: Space, table: BitTable, candidate: Candidate, /) -> dict[str, float]:
    """Return macs_g, params_m, size_mb and bops_g of `candidate`; layers without bits have 32."""
    bits = from_picks(candidate.picks)
    return {**space.costs(candidate), **table.costs(bits, keep=space.decode(candidate))}


class BitSpace:
    """The sub-networks of `space`, each layer with some of the bits of `table`.

    Args:
        bred: draws and breeds the widths: `space` itself, or what knows what they lose.
        sensitivity: (n_layers, n_options) what each option of `table` loses; without it bits are drawn at random.
    """

    def __init__(
        self, space: Space, bred: SearchSpace, table: BitTable, /, *, sensitivity: Floats | None = None
    ) -> None:
        self._space = space
        self._bred = bred
        self._table = table
        self._order_at_random = sensitivity is None
        noise = np.power(4.0, -table.bits).sum(2)  # of rounding falls to a quarter with each bit
        self._costs = noise if sensitivity is None else sensitivity
        self._whole = self._as_float(space.decode(space.parent))
        self._floor = self._as_float(space.decode(space.narrowest))
        self._fixed = table.fixed()
        self._is_cut = space.log10_size() > 0

    @property
    def genes(self) -> tuple[Gene, ...]:
        """The blocks and the counts that each may keep; bits are no part of them."""
        return self._space.genes

    @property
    def leanest(self) -> Candidate:
        """The candidate of the fewest channels and bits."""
        keep = self._space.decode(self._space.narrowest)
        return self.encode(keep, self._table.tables(keep)["bops_g"].argmin(1))

    def encode(self, keep: Keep, choice: Choice, /) -> Candidate:
        """Return the candidate with these keep counts (n_genes,) and options (n_layers,)."""
        picks = (*self._space.encode(keep).picks, *to_picks(self._table.allocation(choice)).items())
        return Candidate(self._space.base, tuple(sorted(picks)))

    def decode(self, candidate: Candidate, /) -> tuple[Keep, Choice]:
        """Return the keep counts (n_genes,) and the options (n_layers,) of `candidate`; a float layer has the last.

        Raises:
            BadInput: a pick that this space does not have.
        """
        bits = self._table.encode(from_picks(candidate.picks))
        is_float = (bits == FLOAT_BITS).all(1)
        is_same = (self._table.bits == bits[:, None]).all(2)
        if not (is_same.any(1) | is_float).all():
            layer = self._table.layers[int((is_same.any(1) | is_float).argmin())]
            raise BadInput(f"candidate {candidate.id} gives layer {layer} bits that are not among the options")
        return self._space.decode(candidate), np.where(is_float, len(self._table.options) - 1, is_same.argmax(1))

    def costs(self, candidate: Candidate, /) -> dict[str, float]:
        """Return macs_g, params_m, size_mb and bops_g of `candidate`."""
        return costs_of(self._space, self._table, candidate)

    def loss(self, candidate: Candidate, /) -> float:
        """Return what the candidate's bits lose, summed over the layers."""
        choice = self.decode(candidate)[1]
        return float(self._costs[np.arange(len(choice)), choice].sum())

    def reach(self) -> dict[str, tuple[float, float]]:
        """Return the smallest value of each cost and the float parent's."""
        low, high = self.costs(self.leanest), self.costs(self._space.parent)
        return {name: (low[name], high[name]) for name in high}

    def log10_size(self) -> float:
        """Return the decimal logarithm of the number of candidates."""
        n_options = [len(np.unique(each, axis=0)) for each in self._table.bits]
        return self._space.log10_size() + float(np.log10(n_options).sum())

    def check(self, limits: Limits, /) -> None:
        """Make sure that some candidate meets `limits`.

        Raises:
            OutOfReach: a limit below the smallest value; the message gives the interval.
        """
        for name, (low, high) in self.reach().items():
            if name in limits and limits[name] < low:
                raise OutOfReach(
                    f"{name} {limits[name]:.4g} is out of reach: this space goes from {low:.4g} to {high:.4g}"
                )

    def shares(self, candidate: Candidate, /) -> dict[str, float]:
        """Return the fraction that `candidate` keeps of each block, by name."""
        return self._space.shares(candidate)

    def adopt(self, shares: Mapping[str, float], /) -> Candidate:
        """Return the candidate that keeps these fractions of its blocks, without bits, which `fill` gives it."""
        return self._space.adopt(shares)

    def sample(self, rng: np.random.Generator, /, *, limits: Limits, diversity: float = 1.0) -> Candidate:
        """Return a random candidate that uses its tightest limit and exceeds none.

        Where neither size nor BOPs are limited, bits meet a random size between the fewest and the most.

        Args:
            diversity: of the widths as `bred` takes it. Of bits: the standard deviation of the random factor
                (log-normal) on each layer's losses; at random, the share of layers that are drawn on their own.

        Raises:
            OutOfReach: no candidate of the space meets the limits.
        """
        self.check(limits)
        own, whole = _own(limits), self._whole
        if own and len(own) < len(limits):  # the split is between what these widths take and the fewest there are
            whole = self._as_float(self._space.decode(self._bred.sample(rng, limits=own, diversity=diversity)))
        ratios = self._drawn_ratios(limits, whole, rng)
        widths = self._bred.sample(rng, limits=self._width_limits(limits, ratios), diversity=diversity)
        return self._topped(self._with_new_bits(widths, rng, limits, diversity), rng, limits)

    def mutate(self, candidate: Candidate, rng: np.random.Generator, /, *, limits: Limits) -> Candidate:
        """Return `candidate` with other widths, other bits or both, and the rest settled around them."""
        keep, choice = self.decode(candidate)
        widths, is_moved = _widths(candidate), np.zeros(len(choice), bool)
        way = int(rng.integers(3)) if self._is_cut else 0
        if way != 0:
            drift = float(np.exp(DRIFT * rng.standard_normal()))
            ratios = {name: ratio * drift for name, ratio in self._ratios(keep, choice, limits).items()}
            widths = self._bred.mutate(widths, rng, limits=self._width_limits(limits, ratios))
        if way != 1:
            is_moved = rng.random(len(choice)) < RATE
            is_moved[rng.integers(len(choice))] = True
            choice = np.where(is_moved, rng.integers(len(self._table.options), size=len(choice)), choice)
        return self._settled(widths, choice, rng, limits, is_fixed=is_moved, fill=not self._order_at_random)

    def cross(self, first: Candidate, second: Candidate, rng: np.random.Generator, /, *, limits: Limits) -> Candidate:
        """Return a candidate with each width and each layer's bits from one of the two, settled inside `limits`."""
        (keep, choice), (_, other) = self.decode(first), self.decode(second)
        choice = np.where(rng.random(len(choice)) < 0.5, choice, other)
        within = self._width_limits(limits, self._ratios(keep, choice, limits))
        return self._settled(self._bred.cross(_widths(first), _widths(second), rng, limits=within), choice, rng, limits)

    def fill(self, candidate: Candidate, rng: np.random.Generator, /, *, limits: Limits) -> Candidate:
        """Return `candidate` with more bits, more channels or both, or its first bits, until a limit is used up."""
        widths = _widths(candidate)
        if widths == candidate:
            within = self._width_limits(limits, self._drawn_ratios(limits, self._whole, rng))
            candidate = self._with_new_bits(self._bred.fill(widths, rng, limits=within), rng, limits, 0.0)
        elif rng.random() < 0.5:  # bits first: widths get what these leave
            candidate = self._settled(widths, self.decode(candidate)[1], rng, limits, fill=True)
        else:
            candidate = self._widened(candidate, rng, limits)
        return self._topped(candidate, rng, limits)

    def _topped(self, candidate: Candidate, rng: np.random.Generator, limits: Limits) -> Candidate:
        """Return `candidate` widened as long as its bits leave some of every limit."""
        for _ in range(N_TOPPED):
            costs = self.costs(candidate)
            if max((costs[name] / limit for name, limit in limits.items()), default=1.0) >= 1 - TOLERANCE:
                break
            candidate = self._widened(candidate, rng, limits)
        return candidate

    def _widened(self, candidate: Candidate, rng: np.random.Generator, limits: Limits) -> Candidate:
        """Return `candidate` with the widths that its bits leave room for, and then with the bits that these do."""
        keep, choice = self.decode(candidate)
        within = self._width_limits(limits, self._ratios(keep, choice, limits))
        return self._settled(self._bred.fill(_widths(candidate), rng, limits=within), choice, rng, limits, fill=True)

    def _with_new_bits(
        self, widths: Candidate, rng: np.random.Generator, limits: Limits, diversity: float
    ) -> Candidate:
        keep = self._inside(widths, rng, limits)
        bids = self._bids(keep, limits)
        n_layers, n_options = self._costs.shape
        if not bids.uses.size:
            sizes = self._table.tables(keep)["size_mb"]
            low, high = sizes.min(1).sum(), sizes.max(1).sum()
            bids = Bids(bids.costs, (sizes / (low * (high / low) ** rng.random()))[None])
        free = np.zeros(n_layers, bool)
        if self._order_at_random:
            is_own = rng.random(n_layers) < diversity
            choice = np.where(is_own, rng.integers(n_options, size=n_layers), rng.integers(n_options))
            choice = narrowed(bids, choice, free, rng=rng)
            return self.encode(keep, widened(bids, choice, free, rng=rng))
        bids = Bids(bids.costs * np.exp(diversity * rng.standard_normal((n_layers, 1))), bids.uses)
        return self.encode(keep, widened(bids, priced(bids), free))

    def _settled(
        self,
        widths: Candidate,
        choice: Choice,
        rng: np.random.Generator,
        limits: Limits,
        *,
        is_fixed: Flags | None = None,
        fill: bool = False,
    ) -> Candidate:
        """Return `widths` with the bits of `choice`, both brought inside `limits`, layers that are fixed last."""
        keep = self._inside(widths, rng, limits)
        bids = self._bids(keep, limits)
        free = np.zeros(len(choice), bool)
        fixed = free if is_fixed is None else is_fixed
        order = rng if self._order_at_random else None
        choice = narrowed(bids, narrowed(bids, choice, fixed, rng=order), free, rng=order)
        return self.encode(keep, widened(bids, choice, fixed, rng=order) if fill and bids.uses.size else choice)

    def _inside(self, widths: Candidate, rng: np.random.Generator, limits: Limits) -> Keep:
        """Return the keep counts of `widths`, fewer where no bits would be few enough for them."""
        own, factor = _own(limits), 1.0
        fewest = self._table.tables()["bops_g"].argmin(1)
        for _ in range(TRIES):
            keep = self._space.decode(widths)
            if self._space.uses(keep[None], own)[0] <= 1 and self._bids(keep, limits).least_use() <= 1:
                return keep
            within = self._width_limits(limits, self._ratios(keep, fewest, limits), factor=factor)
            widths, factor = self._bred.cross(widths, widths, rng, limits=within), factor * TIGHTER
        self.check(limits)
        return self._space.decode(self._space.narrowest)

    def _bids(self, keep: Keep, limits: Limits) -> Bids:
        tables, fixed = self._table.tables(keep), self._table.fixed(keep)
        uses = [tables[name] / max(limits[name] - fixed[name], LEAST) for name in BIT_COSTS if name in limits]
        return Bids(self._costs, np.array(uses).reshape(-1, *self._costs.shape))

    def _drawn_ratios(self, limits: Limits, whole: Mapping[str, float], rng: np.random.Generator) -> dict[str, float]:
        """Return by limited cost what bits will take of what float32 does: the more, the narrower the widths.

        Args:
            whole: what the widest widths in question take in float32.
        """
        tables, share, ratios = self._table.tables(), rng.random(), {}
        for name in BIT_COSTS:
            if name in limits:
                fixed, room = self._fixed[name], limits[name] - self._fixed[name]
                low, high = (
                    end.sum() / (self._whole[name] - fixed) for end in (tables[name].min(1), tables[name].max(1))
                )
                start = max(low, room / max(whole[name] - fixed, LEAST))
                end = max(start, min(high, room / max(self._floor[name] - fixed, LEAST)))
                ratios[name] = float(start * (end / start) ** share)
        return ratios

    def _ratios(self, keep: Keep, choice: Choice, limits: Limits) -> dict[str, float]:
        """Return by limited cost what the bits of `choice` take of what float32 does."""
        tables, fixed, whole = self._table.tables(keep), self._table.fixed(keep), self._as_float(keep)
        taken = {name: float(tables[name][np.arange(len(choice)), choice].sum()) for name in BIT_COSTS}
        return {name: taken[name] / (whole[name] - fixed[name]) for name in BIT_COSTS if name in limits}

    def _width_limits(self, limits: Limits, ratios: Mapping[str, float], *, factor: float = 1.0) -> dict[str, float]:
        """Return the limits on widths that, in float32, stand for `limits` at these `ratios`; some widths meet them."""
        widths = _own(limits)
        for name, ratio in ratios.items():
            cost, unit = _AS_FLOAT[name]
            room = max(limits[name] - self._fixed[name], 0.0) / ratio
            within = max((self._fixed[name] + room) * factor, self._floor[name]) / unit
            widths[cost] = min(within, widths.get(cost, within))
        return widths

    def _as_float(self, keep: Keep) -> dict[str, float]:
        """Return what `keep` costs in float32 by the names of the costs that know bits."""
        found = self._space.population_costs(keep[None])
        return {name: float(found[cost][0]) * unit for name, (cost, unit) in _AS_FLOAT.items()}


def _own(limits: Limits) -> dict[str, float]:
    """Return those of `limits` that bits do not change."""
    return {name: limits[name] for name in WIDTH_COSTS if name in limits}


def _widths(candidate: Candidate) -> Candidate:
    return Candidate(candidate.base, candidate.widths)
