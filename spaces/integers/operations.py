"""The operations of a quantized detector: which of them run on integers, and what numbers each of their tensors holds.

All that leads to a layer of few bits runs on integers. What follows the last of these layers, the head's decoding, runs
in float32.
"""

import copy
import warnings
from collections import Counter
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram
from torch.export.graph_signature import InputKind
from torch.fx import Interpreter, Node
from torch.utils._pytree import tree_unflatten
from ultralytics.nn.modules.head import Detect

from spaces.bits.quantized import QuantizedConv2d, plain, quantized_layers
from spaces.bits.ranges import Histogram
from spaces.channels.aten import operation, shape_of
from spaces.channels.blocks import layer_of
from spaces.errors import BadInput
from spaces.networks.autocast import exact_products

BATCH = 8
MOST_IMAGES = 1024  # at once

PARTING = frozenset({"chunk", "split", "split_with_sizes"})
CONVOLVING = frozenset({"conv2d", "conv_transpose2d", "linear"})  # whose other arguments are parameters

Outputs = tuple[Tensor, dict[str, Tensor]]  # of a detector in evaluation mode: decoded, and raw
Visit = Callable[[Node, Sequence[Tensor]], Tensor]  # what a node makes of what it reads, both as integers
Leave = Callable[[Node, Tensor], Tensor]  # the float32 numbers that a node's integers are


class Graph:
    """A quantized detector as ATen operations at one image size.

    Attributes:
        image: the node of the images.
        layers: by the node of a convolution, the layer of few bits that it is.
        nodes: what makes tensors of integers, in order, `image` first.
        last: the layers of few bits whose outputs are dequantized.

    Raises:
        BadInput: no layer of `network` has bits.
    """

    def __init__(self, network: nn.Module, /, *, imgsz: int) -> None:
        self._program = _exported(plain(network), imgsz)
        signature, nodes = self._program.graph_signature, list(self._program.graph.nodes)
        self._names = {**signature.inputs_to_parameters, **signature.inputs_to_buffers}
        self.image = next(node for node in nodes if node.name in signature.user_inputs)
        known = quantized_layers(network)
        if not known:
            raise BadInput("the integer-only path needs layers that have bits, got a detector without any")
        found = {node: known.get(self.layer_name(node)) for node in nodes if operation(node) == "conv2d"}
        self.layers = {node: layer for node, layer in found.items() if isinstance(layer, QuantizedConv2d)}
        inner = _ancestors(self.layers)
        self.nodes = [node for node in nodes if node in inner]
        self.last = [node for node in self.layers if node not in inner]

    def layer_name(self, node: Node, /) -> str:
        """Return the name of the layer whose weights `node` reads, "" if it is none's."""
        weight = node.args[1] if operation(node) in CONVOLVING else None
        return layer_of(self._names[str(weight)]) if str(weight) in self._names else ""

    def tensor(self, node: object, /) -> Tensor:
        """Return the parameter that `node` is."""
        tensor: Tensor = self._program.state_dict[self._names[str(node)]]
        return tensor.detach()

    @torch.no_grad()
    def run(self, images: Tensor, visit: Visit, leave: Leave, /) -> Outputs:
        """Return the network's outputs for float32 `images`, all that is not of integers computed as it is."""
        return self._outputs(_Walk(self, visit, leave), images)

    @torch.no_grad()
    def observe(self, images: Tensor, /) -> dict[Node, Histogram]:
        """Return what the tensors of `nodes` hold, layers of few bits reading what they round."""
        seen = {node: Histogram() for node in self.nodes}
        for batch in images.split(BATCH):
            self._outputs(_Observer(self, seen), batch)
        return seen

    def _outputs(self, walk: Interpreter, images: Tensor) -> Outputs:
        signature = self._program.graph_signature
        tensors = {**self._program.state_dict, **self._program.constants}
        with exact_products():
            made = walk.run(
                *(
                    images if spec.kind is InputKind.USER_INPUT else tensors[str(spec.target)]
                    for spec in signature.input_specs
                )
            )
        first = len(made) - len(signature.user_outputs)  # before them, buffers that change
        outputs: Outputs = tree_unflatten(made[first:], self._program.call_spec.out_spec)
        return outputs


class _Observer(Interpreter):
    """Runs a graph in float32 and counts what its tensors of integers would hold."""

    def __init__(self, graph: Graph, seen: dict[Node, Histogram]) -> None:
        super().__init__(graph._program.graph_module)
        self._graph, self._seen = graph, seen

    def run_node(self, n: Node) -> object:
        """Return what the node makes."""
        made: object
        if n in self._graph.layers:
            (read, *others), _ = self.fetch_args_kwargs_from_env(n)
            made = call(n, self._graph.layers[n].input_grid().round(read), others)
        else:
            made = super().run_node(n)
        if n in self._seen and isinstance(made, Tensor):
            self._seen[n].add(made)
        return made


class _Walk(Interpreter):
    """Runs a graph whose tensors of integers are kept apart until nobody reads them."""

    def __init__(self, graph: Graph, visit: Visit, leave: Leave) -> None:
        super().__init__(graph._program.graph_module)
        self._steps = {*graph.nodes, *graph.last}
        self._parts = {node.args[0] for node in self._steps if operation(node) == "getitem"}
        self._visit, self._leave, self._last = visit, leave, set(graph.last)
        self._integers: dict[Node, Tensor] = {}
        self._n_readers = Counter(source for node in self._steps for source in sources(node))

    def run_node(self, n: Node) -> object:
        """Return what the node makes in float32, if anything but integers reads it."""
        if n in self._parts:
            return None
        if n not in self._steps:
            return super().run_node(n)
        if n.op == "placeholder":
            images: Tensor = super().run_node(n)
            self._integers[n] = self._visit(n, [images])
            return images
        made = self._visit(n, [self._read(source) for source in sources(n)])
        if n in self._last:
            return made.float()
        if self._n_readers[n]:
            self._integers[n] = made
        is_left = any(user not in self._steps and user not in self._parts for user in n.users)
        return self._leave(n, made) if is_left else None

    def _read(self, node: Node) -> Tensor:
        self._n_readers[node] -= 1
        return self._integers[node] if self._n_readers[node] else self._integers.pop(node)


def sources(node: Node, /) -> list[Node]:
    """Return what makes the tensors that `node` reads, parameters of convolutions left aside."""
    if operation(node) in CONVOLVING:
        return [argument for argument in node.args[:1] if isinstance(argument, Node)]
    if operation(node) == "getitem" and isinstance(parted := node.args[0], Node):
        return sources(parted) if operation(parted) in PARTING else [parted]
    return [source for source in _nodes(node.args) if shape_of(source)]


def _nodes(arguments: object) -> list[Node]:
    """Return the nodes among `arguments`, one that is there twice twice."""
    if isinstance(arguments, list | tuple):
        return [node for argument in arguments for node in _nodes(argument)]
    return [arguments] if isinstance(arguments, Node) else []


def readers(node: Node, /) -> list[Node]:
    """Return what reads the tensor of `node`, the parts of one that is parted instead of the parting."""
    return [reader for user in node.users for reader in (user.users if operation(user) in PARTING else [user])]


def call(node: Node, read: Tensor, others: Sequence[object] | None = None, /) -> Tensor:
    """Return what the operation of `node` makes of `read` and its other arguments; `read` stays as it is."""
    arguments = node.args[1:] if others is None else others
    made: Tensor = node.target(read.clone() if _is_in_place(node) else read, *arguments, **node.kwargs)  # type: ignore[operator]
    return made


def _is_in_place(node: Node) -> bool:
    schema = getattr(node.target, "_schema", None)
    return bool(schema and schema.name.endswith("_"))


def _exported(network: nn.Module, imgsz: int) -> ExportedProgram:
    network = copy.deepcopy(network).eval()  # tracing leaves fake tensors behind in the head
    for layer in network.modules():
        if isinstance(layer, Detect):
            layer.shape = None  # of the last images that it saw, which would tie the graph to their number
    batch = Dim("batch", min=1, max=MOST_IMAGES)
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        images = torch.zeros(2, 3, imgsz, imgsz)
        return torch.export.export(network, (images,), strict=False, dynamic_shapes=({0: batch},))


def _ancestors(layers: Sequence[Node] | dict[Node, QuantizedConv2d]) -> set[Node]:
    """Return all that leads to `layers`, and with one part of a parted tensor the others."""
    found: set[Node] = set()
    waiting = [source for node in layers for source in sources(node)]
    while waiting:
        node = waiting.pop()
        if node in found:
            continue
        found.add(node)
        waiting += sources(node)
        waiting += [reader for user in node.users if operation(user) in PARTING for reader in user.users]
    return found
