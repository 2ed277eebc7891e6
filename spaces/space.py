"""The space: which keep counts may be picked, what any choice costs, and how to draw one on budget.

A gene is a block's keep count. MACs and parameters are sums of products of keep counts, so the costs of a whole
population are one numpy expression and no network is built to know them. Draws land on the budget by construction:
rejection sampling accepts 1 of 1,177 draws at 40 % of a YOLOv5n's MACs and none at 30 %.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from spaces.candidate import Candidate
from spaces.channels.graph import ChannelGraph
from spaces.errors import BadInput, OutOfReach

Keep = NDArray[np.int64]  # (n_genes,) or (n, n_genes): channels kept of each block's part
Floats = NDArray[np.float64]

BREADTH = 0.4  # of the beta distribution of block weights; 1 (uniform) gives narrower widths than rejection does
TOLERANCE = 0.005  # a draw uses at least 99.5 % of its tightest limit
ARITHMETIC_COSTS = ("macs_g", "params_m", "size_mb")


@dataclass(frozen=True)
class Gene:
    """One choice.

    Attributes:
        size: the parent's value.
        options: what may be picked, ascending; the last is the parent's value.
    """

    name: str
    size: int
    options: tuple[int, ...]


class Space:
    """Every sub-network of one parent.

    Args:
        graph: the parent's channel graph.
        base: the name that its candidates carry.
        align: keep counts are multiples of it (or the parent's own count).
        keep_min: the smallest fraction of a block that may be kept, in (0, 1].
        size_overhead: bytes of a model file that are no weights.
    """

    def __init__(
        self, graph: ChannelGraph, *, base: str = "same", align: int = 8, keep_min: float = 0.2, size_overhead: int = 0
    ) -> None:
        if align < 1 or not 0 < keep_min <= 1:
            raise BadInput(f"align must be at least 1 and keep_min in (0, 1], got {align} and {keep_min}")
        self.base = base
        self.genes = tuple(
            Gene(block.name, block.size, _options(block.size, align, keep_min)) for block in graph.blocks
        )
        self._index = {gene.name: index for index, gene in enumerate(self.genes)}
        self._floor = np.array([gene.options[0] for gene in self.genes])
        self._ceiling = np.array([gene.size for gene in self.genes])
        self._align = align
        self._keep_min = keep_min
        self._overhead = size_overhead
        self._other_macs = graph.other_macs
        self._macs = _macs(graph)
        self._params = _parameters(graph, frozenset())
        self._folded = _parameters(graph, graph.scales)

    def over(self, graph: ChannelGraph, /, *, base: str) -> "Space":
        """Return the space of another graph under the same rules, whose candidates carry the name `base`."""
        return Space(graph, base=base, align=self._align, keep_min=self._keep_min, size_overhead=self._overhead)

    @property
    def parent(self) -> Candidate:
        """The candidate that keeps everything."""
        return Candidate(self.base, ())

    @property
    def narrowest(self) -> Candidate:
        """The candidate that keeps the least of every block."""
        return self.encode(self._floor)

    def encode(self, keep: Keep, /) -> Candidate:
        """Return the candidate with these keep counts, (n_genes,)."""
        picks = ((gene.name, int(k)) for gene, k in zip(self.genes, keep, strict=True) if k != gene.size)
        return Candidate(self.base, tuple(sorted(picks)))

    def decode(self, candidate: Candidate, /) -> Keep:
        """Return the keep counts of `candidate`, (n_genes,); its other picks are left aside.

        Raises:
            BadInput: a keep count that this space does not have.
        """
        keep = self._ceiling.copy()
        for name, value in candidate.widths:
            index = self._index.get(name)
            if candidate.base != self.base or index is None or value not in self.genes[index].options:
                raise BadInput(f"candidate {candidate.id} picks {name}={value}, which base {self.base!r} does not have")
            keep[index] = value
        return keep

    def shares(self, candidate: Candidate, /) -> dict[str, float]:
        """Return the fraction that `candidate` keeps of each block, by name."""
        keep = self.decode(candidate)
        return {gene.name: float(k / gene.size) for gene, k in zip(self.genes, keep, strict=True)}

    def adopt(self, shares: Mapping[str, float], /) -> Candidate:
        """Return the candidate that keeps these fractions of the blocks of these names, and all of the others."""
        wanted = np.array([gene.size * shares.get(gene.name, 1.0) for gene in self.genes])
        return self.encode(self._rounded(wanted))

    def costs(self, candidate: Candidate, /) -> dict[str, float]:
        """Return macs_g, params_m and size_mb (fp32, BatchNorm folded) of `candidate`."""
        keep = self.decode(candidate)[None]
        return {name: float(self._cost(name, keep)[0]) for name in ARITHMETIC_COSTS}

    def population_costs(self, keep: Keep, /) -> dict[str, Floats]:
        """Return the costs of each row of `keep` (n, n_genes), each an array (n,)."""
        return {name: self._cost(name, keep) for name in ARITHMETIC_COSTS}

    def reach(self) -> dict[str, tuple[float, float]]:
        """Return the smallest and the largest value of each cost."""
        ends = self.population_costs(np.stack([self._floor, self._ceiling]))
        return {name: (float(values[0]), float(values[1])) for name, values in ends.items()}

    def log10_size(self) -> float:
        """Return the decimal logarithm of the number of candidates."""
        return float(np.log10([len(gene.options) for gene in self.genes]).sum())

    def check(self, limits: Mapping[str, float], /) -> None:
        """Make sure that some candidate meets `limits`.

        Raises:
            OutOfReach: a limit below the smallest value; the message gives the interval.
        """
        for name, (low, high) in self.reach().items():
            if name in limits and limits[name] < low:
                raise OutOfReach(
                    f"{name} {limits[name]:.4g} is out of reach: this space goes from {low:.4g} to {high:.4g}"
                )

    def sample(self, rng: np.random.Generator, /, *, limits: Mapping[str, float], diversity: float = 1.0) -> Candidate:
        """Return a random candidate that uses its tightest limit to within 0.5 % and exceeds none.

        A direction is drawn (a weight for each block) and its scale is bisected until the cost meets the limit:
        the keep fraction of a block is u ** scale of its range, so the widths are as diverse as independent uniform
        draws are and yet on budget. Limits at or above the parent's costs give unconstrained draws.

        Args:
            diversity: 1 for independent widths, towards 0 for the same keep fraction everywhere.
        """
        self.check(limits)
        for _ in range(64):
            draw = 0.5 + diversity * (rng.beta(BREADTH, BREADTH, len(self.genes)) - 0.5)
            if self._use(self._ceiling, limits) <= 1:
                return self.encode(self._rounded(self._floor + (self._ceiling - self._floor) * draw))
            keep = self._settle(self._scaled(draw, limits), rng, limits)
            if self._use(keep, limits) >= 1 - TOLERANCE:
                return self.encode(keep)
        return self.encode(keep)  # a limit that the alignment cannot meet any closer

    def mutate(
        self, candidate: Candidate, rng: np.random.Generator, /, *, limits: Mapping[str, float], rate: float = 0.1
    ) -> Candidate:
        """Return `candidate` with about `rate` of its genes redrawn, brought inside `limits`."""
        keep = self.decode(candidate)
        chosen = rng.random(len(keep)) < rate
        chosen[rng.integers(len(keep))] = True
        for index in np.flatnonzero(chosen):
            keep[index] = rng.choice(self.genes[index].options)
        return self.encode(self._shrink(keep, rng, limits))

    def cross(
        self, first: Candidate, second: Candidate, rng: np.random.Generator, /, *, limits: Mapping[str, float]
    ) -> Candidate:
        """Return a candidate with each gene from one of the two, brought inside `limits`."""
        keep = np.where(rng.random(len(self.genes)) < 0.5, self.decode(first), self.decode(second))
        return self.encode(self._shrink(keep, rng, limits))

    def fill(self, candidate: Candidate, rng: np.random.Generator, /, *, limits: Mapping[str, float]) -> Candidate:
        """Return `candidate` with random blocks widened until the tightest limit is used up."""
        return self.encode(self._settle(self.decode(candidate), rng, limits))

    def uses(self, keep: Keep, limits: Mapping[str, float], /) -> Floats:
        """Return the largest cost of each row of `keep` (n, n_genes) as a fraction of its limit, (n,)."""
        names = [name for name in ARITHMETIC_COSTS if name in limits]
        return np.asarray(np.max([np.zeros(len(keep)), *(self._cost(name, keep) / limits[name] for name in names)], 0))

    def _cost(self, name: str, keep: Keep) -> Floats:
        if name == "macs_g":
            return (_total(self._macs, keep) + self._other_macs) / 1e9
        if name == "params_m":
            return _total(self._params, keep) / 1e6
        return (4 * _total(self._folded, keep) + self._overhead) / 1e6

    def _use(self, keep: Keep, limits: Mapping[str, float]) -> float:
        return float(self.uses(keep[None], limits)[0])

    def _scaled(self, draw: Floats, limits: Mapping[str, float]) -> Keep:
        """Return the aligned keep counts whose scale along `draw` meets `limits` best from below."""
        low, high = -12.0, 6.0  # log2 of the exponent: from everything kept to almost nothing
        keep = self._floor
        for _ in range(18):
            middle = (low + high) / 2
            trial = self._rounded(self._floor + (self._ceiling - self._floor) * draw ** (2.0**middle))
            if self._use(trial, limits) > 1:
                low = middle
            else:
                high, keep = middle, trial
        return keep

    def _rounded(self, keep: Floats) -> Keep:
        aligned = np.round(keep / self._align).astype(np.int64) * self._align
        is_whole = keep > self._ceiling - self._align / 2
        return np.where(is_whole, self._ceiling, np.clip(aligned, self._floor, self._ceiling))

    def _settle(self, keep: Keep, rng: np.random.Generator, limits: Mapping[str, float]) -> Keep:
        """Return `keep` filled up, block by random block, to the limits."""
        keep = self._shrink(keep, rng, limits)
        for index in rng.permutation(np.tile(np.arange(len(keep)), 2)):
            if self._use(keep, limits) >= 1 - TOLERANCE / 5:
                break
            trial = keep.copy()
            trial[index] = self._step(index, int(keep[index]), 1)
            if self._use(trial, limits) <= 1:
                keep = trial
        return keep

    def _shrink(self, keep: Keep, rng: np.random.Generator, limits: Mapping[str, float]) -> Keep:
        """Return `keep` with random blocks made narrower, step by step, until it is inside `limits`."""
        keep = keep.copy()
        while self._use(keep, limits) > 1:
            if not (keep > self._floor).any():
                self.check(limits)
                break
            index = int(rng.choice(np.flatnonzero(keep > self._floor)))
            keep[index] = self._step(index, int(keep[index]), -1)
        return keep

    def _step(self, index: int, value: int, direction: int) -> int:
        options = self.genes[index].options
        place = options.index(value) + direction
        return options[min(max(place, 0), len(options) - 1)]


def _options(size: int, align: int, keep_min: float) -> tuple[int, ...]:
    lowest = max(align, -(-int(np.ceil(keep_min * size)) // align) * align)
    return (*range(lowest, size, align), size)


def affine(graph: ChannelGraph, name: str, dimension: int, /) -> Floats:
    """Return the length of a tensor's dimension as (constant, one weight for each gene)."""
    row = np.zeros(1 + len(graph.blocks))
    axis = graph.axes.get((name, dimension))
    if axis is None:
        row[0] = graph.shapes[name][dimension] if dimension < len(graph.shapes[name]) else 1
        return row
    counts = np.bincount(axis.blocks + 1, minlength=len(row))
    row[0] = counts[0]
    row[1:] = counts[1:] / np.array([block.size for block in graph.blocks])
    return row


def _total(form: Floats, keep: Keep) -> Floats:
    """Return the quadratic `form` (1 + n_genes, 1 + n_genes) at each row of `keep` (n, n_genes) after a 1, (n,)."""
    ones = np.column_stack([np.ones(len(keep)), keep])
    return np.asarray(np.einsum("ni,ni->n", ones @ form, ones))


def _form(graph: ChannelGraph, rows: list[tuple[float, str, bool]]) -> Floats:
    """Return the sum over (factor, tensor, whether its second dimension counts) as a quadratic form in keep counts."""
    unit = np.eye(1, 1 + len(graph.blocks))[0]
    first = np.stack([affine(graph, name, 0) for _, name, _ in rows])
    second = np.stack([affine(graph, name, 1) if is_matrix else unit for _, name, is_matrix in rows])
    return np.asarray((np.array([factor for factor, _, _ in rows])[:, None] * first).T @ second)


def _macs(graph: ChannelGraph) -> Floats:
    rows = []
    for layer in graph.layers:
        kernel = int(np.prod(graph.shapes[layer.weight][2:]))
        rows.append((float(layer.positions * kernel), layer.weight, not layer.is_depthwise))
    return _form(graph, rows)


def _parameters(graph: ChannelGraph, without: frozenset[str]) -> Floats:
    rows = []
    for name in graph.parameters:
        shape = graph.shapes[name]
        if name not in without:
            rows.append((float(np.prod(shape[2:])), name, len(shape) > 1))
    return _form(graph, rows)
