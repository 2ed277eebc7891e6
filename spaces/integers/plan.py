"""From a graph and what its tensors hold to steps of integers: on which grid each tensor is.

A tensor is on the grid of the layers that read it, if they agree; then nothing is rounded twice. Otherwise it has 8
bits of its own, and each layer that reads it moves it to its grid. What is joined is on the grid of the whole, what is
only chosen from or moved stays on its own, and what only a function reads spans no more than the function tells apart.
"""

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor
from torch.fx import Node

from spaces.bits.ranges import Grid, Histogram, RangeMethod, Samples, fit_grid
from spaces.channels.aten import dimension_of, operation
from spaces.errors import BadInput
from spaces.integers.arithmetic import encode, is_same, power_of_two, unsigned
from spaces.integers.operations import PARTING, Graph, call, readers, sources
from spaces.integers.steps import Entry, Join, Lookup, Margin, Passing, Rescaling, Step, Sum, snapped
from spaces.integers.sums import convolution, mean, transposed

BITS = 8
N_CLIPPED = 24  # clippings of a range that are tried at each end
N_POINTS = 4096  # at which a function is looked at

FUNCTIONS = frozenset(
    {"silu", "relu", "relu6", "sigmoid", "tanh", "hardswish", "hardsigmoid", "hardtanh", "leaky_relu", "gelu", "mish"}
    | {"elu", "softplus", "clamp"}
)
MOVING = frozenset(
    {"max_pool2d", "upsample_nearest2d", "slice", "getitem", "view", "reshape", "flatten", "transpose", "permute"}
    | {"clone", "contiguous", "alias", "detach"}
)
MARGINS = frozenset({"pad", "constant_pad_nd"})
KNOWN = FUNCTIONS | MOVING | MARGINS | {"conv_transpose2d", "avg_pool2d", "add", "cat"}

Function = Callable[[Tensor], Tensor]


def plan(graph: Graph, images: Tensor, /, *, is_power_of_two: bool) -> dict[Node, Step]:
    """Return the step of each node of `graph` that makes integers, and of its last layers.

    Args:
        images: for ranges.
        is_power_of_two: whether all scales are.

    Raises:
        BadInput: one of the nodes is nothing that is known here, or a layer in the way has no bits or too many.
    """
    for node in [*graph.nodes, *graph.last]:
        _check(graph, node)
    grids = _Grids(graph, graph.observe(images), is_power_of_two=is_power_of_two)
    return {node: _step(graph, node, grids) for node in [*graph.nodes, *graph.last]}


class _Grids:
    """The grid of each tensor, and what each layer moves it to.

    Attributes:
        made: by the node that makes the tensor.
        layers: by a layer's node, what it reads.
    """

    def __init__(self, graph: Graph, seen: Mapping[Node, Histogram], *, is_power_of_two: bool) -> None:
        self._graph, self._seen, self.is_power_of_two = graph, seen, is_power_of_two
        self._steps = {*graph.nodes, *graph.last}
        self.layers = {node: self._layer(node) for node in graph.layers}
        self.made: dict[Node, Grid] = {}
        wishes: dict[Node, Grid | None] = {}
        for node in reversed(graph.nodes):
            wishes[node] = self._agreed([self._wish(reader, wishes) for reader in self._readers(node)])
            if not _is_moving(node):
                self.made[node] = wishes[node] or self._own(node)
        for node in graph.nodes:
            if node not in self.made:
                self.made[node] = self.made[sources(node)[0]]

    def read(self, node: Node) -> Rescaling:
        """Return how a layer gets what it reads."""
        made = self.made[sources(node)[0]]
        return Rescaling(made, self.layers.get(node, made))

    def _readers(self, node: Node) -> list[Node]:
        return [reader for reader in readers(node) if reader in self._steps]

    def _wish(self, reader: Node, wishes: Mapping[Node, Grid | None]) -> Grid | None:
        """Return the grid on which `reader` needs no rescaling, None if any of 8 bits will do."""
        if reader in self.layers:
            return self.layers[reader]
        if _is_moving(reader):
            return wishes[reader]
        return self.made[reader] if operation(reader) == "cat" else None

    def _agreed(self, wishes: Sequence[Grid | None]) -> Grid | None:
        grids = [wish for wish in wishes if wish is not None]
        if not grids or not all(is_same(grids[0], grid) for grid in grids):
            return None
        return grids[0] if len(grids) == len(wishes) or grids[0].highest + 1 >= 2**BITS - 1 else None

    def _layer(self, node: Node) -> Grid:
        return self._final(self._graph.layers[node].input_grid(), self._seen[sources(node)[0]].samples())

    def _own(self, node: Node) -> Grid:
        found, samples = self._readers(node), self._seen[node].samples()
        if len(found) == 1 and operation(found[0]) in FUNCTIONS:
            return self._before(_function(found[0]), self.made[found[0]], samples)
        return self._final(fit_grid(samples, bits=BITS, is_symmetric=False, method=RangeMethod.MSE), samples)

    def _before(self, function: Function, made: Grid, samples: Samples) -> Grid:
        """Return the grid on which `function`, whose results are on `made`, errs least for being given rounded numbers.

        First the low end moves, which functions tend to flatten, then the high one.
        """
        low, high = _told_apart(function, made, samples)
        samples = Samples(samples.values.clamp(low, high), samples.counts)
        exact = function(samples.values.double())

        def error(grid: Grid) -> float:
            return float(((function(snapped(grid, samples.values)) - exact).square() * samples.counts).sum())

        def best(spans: Sequence[tuple[float, float]]) -> tuple[Grid, tuple[float, float]]:
            grids = [self._final(_spanning(*span), samples) for span in spans]
            index = min(range(len(spans)), key=lambda index: error(grids[index]))
            return grids[index], spans[index]

        shares = [1 - step / N_CLIPPED for step in range(N_CLIPPED)]
        _, (low, _) = best([(low * share, high) for share in shares])
        return best([(low, high * share) for share in shares])[0]

    def _final(self, grid: Grid, samples: Samples) -> Grid:
        return unsigned(power_of_two(grid, samples) if self.is_power_of_two else grid)


def _spanning(low: float, high: float) -> Grid:
    return fit_grid(Samples.of(torch.tensor([[low, high]])), bits=BITS, is_symmetric=False, method=RangeMethod.MIN_MAX)


def _told_apart(function: Function, made: Grid, samples: Samples) -> tuple[float, float]:
    """Return the ends of `samples` beyond which `function` makes one code each."""
    ends = (min(float(samples.values[0, 0]), 0.0), max(float(samples.values[0, -1]), 0.0))
    points = torch.linspace(*ends, N_POINTS, dtype=torch.float64)
    changes = encode(made, function(points)).diff().nonzero()[:, 0]
    if not len(changes):
        return ends
    return min(float(points[changes[0]]), 0.0), max(float(points[changes[-1] + 1]), 0.0)


def _step(graph: Graph, node: Node, grids: _Grids) -> Step:
    """Return what `node` is."""
    name, read, is_power_of_two = operation(node), sources(node), grids.is_power_of_two
    made = grids.made.get(node)
    if node in graph.layers:
        layer, bits = graph.layers[node], grids.read(node)
        return convolution(layer, node, bits, made=made, is_power_of_two=is_power_of_two)
    assert made is not None  # only last layers make no codes
    if node is graph.image:
        return Entry(made)
    if name == "conv_transpose2d":
        weight, bias = (None if argument is None else graph.tensor(argument) for argument in node.args[1:3])
        assert weight is not None
        return transposed(weight, bias, node, grids.read(node), made=made, is_power_of_two=is_power_of_two)
    if name == "avg_pool2d":
        return mean(node, grids.read(node), made=made)
    if name in FUNCTIONS:
        return Lookup(_function(node), grids.made[read[0]], made)
    if name in ("add", "cat") and not _is_moving(node):
        return (Sum if name == "add" else Join)([grids.made[source] for source in read], made)
    if name in MARGINS:
        return Margin([int(width) for width in node.args[1]], made)  # type: ignore[union-attr, arg-type]
    return Passing(_move(node), made)


def _is_moving(node: Node) -> bool:
    """Return whether the numbers that `node` makes are those that it reads, zeros aside."""
    if operation(node) == "add":
        return not isinstance(node.args[1], Node) and bool(node.args[1] == 0)  # a branch that a block does not have
    return operation(node) in MOVING | MARGINS


def _function(node: Node) -> Function:
    return lambda x: call(node, x)


def _move(node: Node) -> Function:
    """Return what chooses or moves the numbers of a tensor as `node` does."""
    parted = node.args[0]
    if operation(node) == "getitem" and isinstance(parted, Node) and operation(parted) in PARTING:
        index = int(str(node.args[1]))
        return lambda x: call(parted, x)[index]
    return lambda x: call(node, x, [_with_batch(argument, x) for argument in node.args[1:]])


def _with_batch(argument: object, x: Tensor) -> object:
    """Return `argument`, in a shape the number of images for what stands for it."""
    if isinstance(argument, list | tuple):
        return [len(x) if isinstance(each, Node) else each for each in argument]
    return argument


def _check(graph: Graph, node: Node) -> None:
    """Refuse what has no form in integers here.

    Raises:
        BadInput: so it is.
    """
    name, layer = operation(node), graph.layers.get(node)
    if layer is not None and max(layer.bits.weight, layer.bits.activation) > BITS:
        raise BadInput(
            f"the integer-only path has at most {BITS} bits, layer {graph.layer_name(node)} has {layer.bits}"
        )
    if layer is None and name in ("conv2d", "linear"):
        raise BadInput(f"the integer-only path needs bits in every layer, {graph.layer_name(node)} has none")
    is_known = node is graph.image or node in graph.layers or (name in KNOWN and _is_plain(node, name))
    if not is_known:
        raise BadInput(f"the integer-only path has no {name or node.name}, which leads to layers that have bits")


def _is_plain(node: Node, name: str) -> bool:
    """Return whether the arguments of `node` ask for nothing but what is here."""
    if name == "add":
        return _is_moving(node) or (len(sources(node)) == 2 and not node.kwargs)
    if name == "cat":
        return dimension_of(node, 1) == 1
    if name == "getitem":
        return operation(node.args[0]) in PARTING  # type: ignore[arg-type]
    return name not in MARGINS or all(argument in ("constant", 0, None) for argument in node.args[2:])
