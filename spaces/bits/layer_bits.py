"""Bits: with how many of them each layer's weights and inputs are written, and what any choice of them costs.

A layer without bits stays in float32. Sizes count weights packed without gaps, a float32 scale for each output channel
of a layer that has bits, and all other parameters (biases) in float32. A protected layer has at least 8 bits, whatever
is asked for: published results that go below 4 bits leave the first and the last layers there, too.
"""

import difflib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray

from spaces.candidate import ACTIVATION_BITS_SUFFIX, WEIGHT_BITS_SUFFIX
from spaces.channels.blocks import layer_of
from spaces.channels.graph import ChannelGraph
from spaces.errors import BadInput
from spaces.space import Floats, Keep, affine

WEIGHT_BITS = (2, 3, 4, 6, 8, 16)
ACTIVATION_BITS = (3, 4, 6, 8, 16)
FLOAT_BITS = 32
STORED_BITS = {3: 4, 6: 8, 16: FLOAT_BITS}  # by ONNX, where they differ from the weights' own
MOST_STORED = 8  # of the activations of a layer that is stored in few bits at all
PROTECTED_BITS = 8
BIT_COSTS = ("size_mb", "bops_g")


@dataclass(frozen=True, order=True)
class LayerBits:
    """Of one layer.

    Attributes:
        weight: of its weights, one of `WEIGHT_BITS`.
        activation: of what it reads, one of `ACTIVATION_BITS`.
    """

    weight: int
    activation: int

    def __post_init__(self) -> None:
        """Refuse bits outside the tables."""
        _check("weight bits", self.weight, WEIGHT_BITS)
        _check("activation bits", self.activation, ACTIVATION_BITS)

    def __str__(self) -> str:
        return f"W{self.weight}A{self.activation}"

    def at_least(self, bits: int) -> "LayerBits":
        """Return these bits, none of them below `bits`."""
        return LayerBits(max(self.weight, bits), max(self.activation, bits))


Allocation = Mapping[str, LayerBits]  # by layer, as in "2.cv1"; a layer that is not there stays in float32
Bits = NDArray[np.int64]  # (..., n_layers, 2): of weights and activations, 32 for float32
Choice = NDArray[np.int64]  # (n_layers,): the index of an option for each layer


@dataclass(frozen=True)
class Protection:
    """Which layers are spared.

    Attributes:
        first: the layer that reads the image has at least 8 bits.
        last: so have the head's convolutions that make the outputs.
        decode: the mean over each box distribution, a convolution in form only, stays in float32.
    """

    first: bool = True
    last: bool = True
    decode: bool = True


def cross_bits(weight: Sequence[int], activation: Sequence[int], /) -> tuple[LayerBits, ...]:
    """Return all pairs of `weight` and `activation` bits, ascending.

    Raises:
        BadInput: there are none, or some are not in the tables.
    """
    for name, bits, allowed in (("weight", weight, WEIGHT_BITS), ("activation", activation, ACTIVATION_BITS)):
        if not bits:
            raise BadInput(f"{name} bits must be one or more of {_listed(allowed)}, got none")
    return tuple(LayerBits(*pair) for pair in product(sorted(set(weight)), sorted(set(activation))))


def protect(allocation: Allocation, weights: Sequence[str], /, *, protection: Protection) -> dict[str, LayerBits]:
    """Return `allocation` with what is protected raised to 8 bits, or left out where it stays in float32.

    Args:
        weights: the weight tensors of all layers, in the order of the forward pass.

    Raises:
        BadInput: `allocation` names a layer that is not among them.
    """
    tensors = {layer_of(weight): weight for weight in weights}
    for name in allocation:
        if name not in tensors:
            raise BadInput(_unknown(name, list(tensors)))
    head = _section(weights[-1])
    raised = {}
    for name, bits in allocation.items():
        tensor = tensors[name]
        is_last = _section(tensor) == head and not tensor.endswith(".conv.weight")
        if not _is_decode(tensor):
            is_spared = (protection.first and tensor == weights[0]) or (protection.last and is_last)
            raised[name] = bits.at_least(PROTECTED_BITS) if is_spared else bits
        elif not protection.decode:
            raised[name] = bits
    return raised


def to_picks(allocation: Allocation, /) -> dict[str, int]:
    """Return `allocation` as the picks of a candidate, beside which keep counts have their place."""
    picks = {f"{name}{WEIGHT_BITS_SUFFIX}": bits.weight for name, bits in allocation.items()}
    return picks | {f"{name}{ACTIVATION_BITS_SUFFIX}": bits.activation for name, bits in allocation.items()}


def from_picks(picks: Iterable[tuple[str, int]], /) -> dict[str, LayerBits]:
    """Return the allocation in `picks`, keep counts left aside.

    Raises:
        BadInput: a layer has only one of its two, or bits outside the tables.
    """
    known = dict(picks)
    weight, activation = (
        {name.removesuffix(end): bits for name, bits in known.items() if name.endswith(end)}
        for end in (WEIGHT_BITS_SUFFIX, ACTIVATION_BITS_SUFFIX)
    )
    if odd := sorted(weight.keys() ^ activation.keys()):
        raise BadInput(f"layer {odd[0]} must have weight bits and activation bits, got one of them")
    return {name: LayerBits(bits, activation[name]) for name, bits in weight.items()}


class BitTable:
    """The layers of one graph, what their bits may be, and what any choice costs at any keep counts.

    Args:
        options: what may be chosen for each layer; a protected layer reads them as at least 8 bits.
        size_overhead: bytes of a model file that are no weights.
        is_stored: whether weights count in the bits that a file has for them (`STORED_BITS`), not in their own.

    Attributes:
        layers: the names of the convolutions that may have bits, in the order of the forward pass.
        bits: (n_layers, n_options, 2), what each option means for each layer.

    Source of BOPs, MACs times the bits of both factors: van Baalen 2020, Bayesian Bits (arXiv:2005.07093).
    """

    def __init__(
        self,
        graph: ChannelGraph,
        options: Sequence[LayerBits],
        /,
        *,
        protection: Protection | None = None,
        size_overhead: int = 0,
        is_stored: bool = False,
    ) -> None:
        if not options:
            raise BadInput("there must be at least one option of bits, got none")
        self.options = tuple(options)
        self._protection = protection or Protection()
        self._calls = tuple(dict.fromkeys(layer.weight for layer in graph.layers))
        chosen = [name for name in self._calls if not (self._protection.decode and _is_decode(name))]
        self.layers = tuple(map(layer_of, chosen))
        self.bits = np.stack([self.encode(self.uniform(option)) for option in self.options], 1)
        self._overhead = size_overhead
        self._is_stored = is_stored
        self._sizes = np.array([block.size for block in graph.blocks])
        self._weights, others = _Counts(graph, chosen), [name for name in self._calls if name not in chosen]
        folded = [name for name in graph.parameters if name not in graph.scales and name not in chosen]
        self._unchosen, self._rest = _Counts(graph, others), _Counts(graph, folded)
        self._positions = _positions(graph, chosen)
        self._unchosen_positions = _positions(graph, others)
        self._other_macs = graph.other_macs

    def uniform(self, bits: LayerBits, /) -> dict[str, LayerBits]:
        """Return the allocation of the same `bits` to all layers but the protected ones."""
        return protect(dict.fromkeys(self.layers, bits), self._calls, protection=self._protection)

    def allocation(self, choice: Choice, /) -> dict[str, LayerBits]:
        """Return what `choice` (n_layers,) means."""
        pairs = self.bits[np.arange(len(self.layers)), choice]
        return {name: LayerBits(int(w), int(a)) for name, (w, a) in zip(self.layers, pairs, strict=True)}

    def encode(self, allocation: Allocation, /) -> Bits:
        """Return the bits of each layer (n_layers, 2), of protected ones at least 8.

        Raises:
            BadInput: a layer that does not exist.
        """
        raised = protect(allocation, self._calls, protection=self._protection)
        whole = (FLOAT_BITS, FLOAT_BITS)
        pairs = ((raised[name].weight, raised[name].activation) if name in raised else whole for name in self.layers)
        return np.array(list(pairs), np.int64).reshape(-1, 2)

    def costs(self, allocation: Allocation, /, *, keep: Keep | None = None) -> dict[str, float]:
        """Return size_mb and bops_g (1e9 bit operations) of `allocation` at keep counts (n_genes,), or at all."""
        keep = self._sizes if keep is None else keep
        found = self.population_costs(self.encode(allocation)[None], keep[None])
        return {name: float(values[0]) for name, values in found.items()}

    def population_costs(self, bits: Bits, keep: Keep, /) -> dict[str, Floats]:
        """Return the costs of each pair of `bits` (n, n_layers, 2) and `keep` (n, n_genes), each (n,)."""
        size, bops = self._layer_costs(bits[:, :, None], keep)
        fixed_size, fixed_bops = self._fixed(keep)
        return {"size_mb": size[:, :, 0].sum(1) + fixed_size, "bops_g": bops[:, :, 0].sum(1) + fixed_bops}

    def tables(self, keep: Keep | None = None, /) -> dict[str, Floats]:
        """Return by cost what each option of each layer takes (n_layers, n_options), beside `fixed`."""
        size, bops = self._layer_costs(self.bits[None], (self._sizes if keep is None else keep)[None])
        return {"size_mb": size[0], "bops_g": bops[0]}

    def fixed(self, keep: Keep | None = None, /) -> dict[str, float]:
        """Return by cost what no choice of bits changes; a limit on the sum of `tables` is what it leaves."""
        size, bops = self._fixed((self._sizes if keep is None else keep)[None])
        return {"size_mb": float(size[0]), "bops_g": float(bops[0])}

    def _layer_costs(self, bits: Bits, keep: Keep) -> tuple[Floats, Floats]:
        """Return megabytes and 1e9 BOPs of `bits` (n, n_layers, n_options, 2), each (n, n_layers, n_options)."""
        weights, made = self._weights(keep)[:, :, None], self._weights.outputs(keep)[:, :, None]
        scales = 4 * made * (bits[..., 0] < FLOAT_BITS)
        bops = weights * self._positions[:, None] * bits[..., 0] * bits[..., 1]
        return (weights * self._sizes_of(bits) / 8 + scales) / 1e6, bops / 1e9

    def _sizes_of(self, bits: Bits) -> Bits:
        """Return how many bits a weight takes for each of `bits` (..., 2), (...)."""
        if not self._is_stored:
            return bits[..., 0]
        stored = np.arange(FLOAT_BITS + 1)
        stored[list(STORED_BITS)] = list(STORED_BITS.values())
        return np.where(bits[..., 1] > MOST_STORED, FLOAT_BITS, stored[bits[..., 0]])

    def _fixed(self, keep: Keep) -> tuple[Floats, Floats]:
        macs = self._unchosen(keep) @ self._unchosen_positions + self._other_macs
        return (4 * self._rest(keep).sum(1) + self._overhead) / 1e6, macs * FLOAT_BITS**2 / 1e9


class _Counts:
    """How many values some tensors of `graph` have at given keep counts."""

    def __init__(self, graph: ChannelGraph, names: Sequence[str]) -> None:
        width = 1 + len(graph.blocks)
        is_matrix = [len(graph.shapes[name]) > 1 for name in names]
        unit = np.eye(1, width)[0]
        pairs = zip(names, is_matrix, strict=True)
        self._first = np.array([affine(graph, name, 0) for name in names]).reshape(-1, width)
        self._second = np.array([affine(graph, name, 1) if wide else unit for name, wide in pairs]).reshape(-1, width)
        self._factors = np.array([float(np.prod(graph.shapes[name][2:])) for name in names])

    def __call__(self, keep: Keep) -> Floats:
        """Return the number of values of each tensor at each row of `keep` (n, n_genes), (n, n_tensors)."""
        ones = np.column_stack([np.ones(len(keep)), keep])
        return np.asarray((ones @ self._first.T) * (ones @ self._second.T) * self._factors)

    def outputs(self, keep: Keep) -> Floats:
        """Return the length of each tensor's first dimension at each row of `keep`, (n, n_tensors)."""
        return np.asarray(np.column_stack([np.ones(len(keep)), keep]) @ self._first.T)


def _positions(graph: ChannelGraph, names: Sequence[str]) -> Floats:
    """Return how often the weights of each layer are used for an image, over all of its calls."""
    return np.array([float(sum(call.positions for call in graph.layers if call.weight == name)) for name in names])


def _section(tensor: str) -> str:
    """Return the part of a detector that a tensor is in: "model.24" for model.24.cv2.0.2.weight."""
    parts = tensor.split(".")
    return ".".join(parts[: 2 if parts[0] == "model" else 1])


def _is_decode(tensor: str) -> bool:
    return tensor.endswith("dfl.conv.weight")


def _check(name: str, bits: int, allowed: Sequence[int]) -> None:
    if bits not in allowed:
        raise BadInput(f"{name} must be one of {_listed(allowed)}, got {bits}")


def _listed(bits: Sequence[int]) -> str:
    return ", ".join(map(str, bits))


def _unknown(name: str, layers: list[str]) -> str:
    close = difflib.get_close_matches(name, layers, n=1)
    hint = f"; did you mean {close[0]!r}?" if close else ""
    return (
        f"layer {name!r:.60} does not exist; there are {', '.join(layers[:3])}, ... {layers[-1]} ({len(layers)}){hint}"
    )
