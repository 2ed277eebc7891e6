"""The channel graph: which slices of which tensors belong together, read from the network itself.

`torch.export` gives the network as ATen operations. Every channel of every activation gets a label, and labels are
pushed through the operations: a convolution consumes its input's labels and makes fresh ones, what works channel by
channel passes them on, sums unite them, concatenation joins, chunking cuts and shuffling reorders the arrays. What
mixes channels in a way that is not understood here freezes them. Channels with the same uses form a block (blocks.py).
No rule knows a module type, so a new family needs nothing; the probe (probe.py) then trusts nothing.
"""

import copy
import warnings
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import nn
from torch.fx import Node
from torch.utils.flop_counter import FlopCounterMode

from spaces.channels.aten import (
    KEEPING,
    MAKING_ANEW,
    PASSING,
    READING_ONLY_THE_TYPE,
    RESHAPING,
    UNITING,
    dimension_of,
    keeps_channels,
    operation,
    permuted,
    reshaped,
    shape_of,
)
from spaces.channels.blocks import Labelling, Labels
from spaces.channels.graph import ChannelGraph, Layer

Value = Labels | list[Labels] | None  # what is known of a node: a tensor's channels, several tensors', nothing


def trace_channels(model: nn.Module, *, imgsz: int) -> ChannelGraph:
    """Return the channel graph of `model` for square images of `imgsz` pixels; the model is left untouched."""
    model = copy.deepcopy(model).eval()  # tracing leaves fake tensors behind in the head
    images = torch.zeros(1, 3, imgsz, imgsz)
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with FlopCounterMode(display=False) as counter:
            copy.deepcopy(model)(images)
        program = torch.export.export(model, (images,), strict=False)
    signature = program.graph_signature
    names = {**signature.inputs_to_parameters, **signature.inputs_to_buffers}
    trace = _Trace({str(key): str(value) for key, value in names.items()})
    for node in program.graph.nodes:
        trace.visit(node)
    shapes = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    conv_macs = sum(layer.positions * int(np.prod(shapes[layer.weight])) for layer in trace.layers)
    parameters = tuple(name for name, _ in model.named_parameters())
    blocks, axes, kept_whole = trace.labelling.blocks(trace.layers)
    return ChannelGraph(
        blocks,
        axes,
        tuple(trace.layers),
        frozenset(trace.scales),
        shapes,
        parameters,
        counter.get_total_flops() // 2 - conv_macs,
        kept_whole,
    )


class _Trace:
    """One walk over an exported graph.

    Attributes:
        labelling: the labels of all channels.
        layers: the convolutions seen so far.
        scales: the BatchNorm weights seen so far.
    """

    def __init__(self, names: Mapping[str, str]) -> None:
        self.labelling = Labelling()
        self.layers: list[Layer] = []
        self.scales: set[str] = set()
        self._names = names
        self._values: dict[Node, Value] = {}

    def visit(self, node: Node) -> None:
        """Work out what is known of `node` and remember it."""
        if node.op == "placeholder":
            is_image = node.name not in self._names and len(shape_of(node)) == 4
            self._values[node] = self._frozen(node, "the image") if is_image else None
        elif node.op == "output":
            first = node.args[0][0] if isinstance(node.args[0], Sequence) else node.args[0]
            self._freeze(self._inputs([first]), "the network's output")
        else:
            self._values[node] = self._call(node, operation(node))

    def _call(self, node: Node, name: str) -> Value:
        if name == "conv2d":
            return self._convolution(node)
        if name == "batch_norm":
            return self._batch_norm(node)
        if name == "prelu":
            return self._prelu(node)
        if name == "getitem":
            pieces = self._values.get(node.args[0])  # type: ignore[arg-type]
            return pieces[node.args[1]] if isinstance(pieces, list) else None  # type: ignore[index]
        known = self._inputs(node.args[:1] if name in READING_ONLY_THE_TYPE else node.args)
        if not known or name in MAKING_ANEW:
            return None
        made = self._several(node, name, known) if name in UNITING | {"cat"} else self._single(node, name, known)
        if made is None:
            self._freeze(known, f"read by {name}")
        return made

    def _single(self, node: Node, name: str, known: list[Labels]) -> Value:
        """Return what becomes of the channels of one tensor, None if it is not understood."""
        x = known[0]
        if len(known) > 1:
            return None
        if name in PASSING or (name in KEEPING and keeps_channels(node, name)):
            return x
        if name in RESHAPING:
            return self._reshaped(node, x)
        if name in ("transpose", "permute"):
            return permuted(node, x)
        if name in ("chunk", "split", "split_with_sizes") and x.ndim == 1 and dimension_of(node, 2) == 1:
            parts = np.split(x, np.cumsum([piece.shape[1] for piece in node.meta["val"]])[:-1])
            self.labelling.tie(parts)
            return parts
        return None

    def _several(self, node: Node, name: str, known: list[Labels]) -> Labels | None:
        """Return the common or the joined labels of several tensors, None if it is not understood."""
        if name == "cat":
            joins = dimension_of(node, 1) == 1 and all(labels.ndim == 1 for labels in known)
            return np.concatenate([self._known(part, name) for part in node.args[0]]) if joins else None  # type: ignore[union-attr]
        tensors = [argument for argument in node.args if isinstance(argument, Node)]
        if len(tensors) == 1:
            return known[0]  # with a scalar
        is_alike = len({len(shape_of(tensor)) for tensor in tensors}) == 1
        if len(known) != 2 or known[0].shape != known[1].shape or not is_alike:
            return None
        return self.labelling.unite(*known)

    def _reshaped(self, node: Node, x: Labels) -> Labels | None:
        """Return the channels of `x` in their new shape; where it splits them, all groups keep the same ones."""
        labels = reshaped(node, x)
        if labels is not None and labels.ndim > x.ndim:
            for group in labels.reshape(-1, labels.shape[-1])[1:]:
                self.labelling.unite(labels.reshape(-1, labels.shape[-1])[0], group)
        return labels

    def _convolution(self, node: Node) -> Value:
        weight = self._name(node.args[1])
        x = self._known(node.args[0], "conv2d")
        out, per_group, *_ = shape_of(node.args[1])
        groups = node.args[6] if len(node.args) > 6 else 1
        positions = int(np.prod(shape_of(node)[2:]))
        is_depthwise = bool(groups == out and per_group == 1 and groups != 1)
        self.layers.append(Layer(weight, positions, is_depthwise))
        made = x if is_depthwise else self.labelling.fresh(out)
        if groups == 1:
            self.labelling.use(weight, 1, x)
        elif not is_depthwise:
            self._freeze([x], "read by a grouped convolution")
            self._freeze([made], "made by a grouped convolution")
        self.labelling.use(weight, 0, made)
        if len(node.args) > 2 and node.args[2] is not None:
            self.labelling.use(self._name(node.args[2]), 0, made)
        return made

    def _batch_norm(self, node: Node) -> Value:
        x = self._known(node.args[0], "batch_norm")
        for argument in node.args[1:5]:
            if argument is not None:
                self.labelling.use(self._name(argument), 0, x)
        if node.args[1] is not None:
            self.scales.add(self._name(node.args[1]))
        return x

    def _prelu(self, node: Node) -> Value:
        """Return the channels of the input: one slope serves them all, or each has its own, which is cut with it."""
        x = self._known(node.args[0], "prelu")
        if shape_of(node.args[1]) != (1,):
            self.labelling.use(self._name(node.args[1]), 0, x)
        return x

    def _known(self, node: object, reader: str) -> Labels:
        """Return the channels of `node`, an input of `reader`; frozen ones if nothing is known of it."""
        assert isinstance(node, Node)
        value = self._values.get(node)
        if isinstance(value, np.ndarray) and value.ndim == 1:
            return value
        self._freeze(self._inputs(node), f"read by {reader}")
        return self._frozen(node, f"not understood before {reader}")

    def _inputs(self, arguments: object) -> list[Labels]:
        if isinstance(arguments, Node):
            value = self._values.get(arguments)
            return value if isinstance(value, list) else [value] if value is not None else []
        if isinstance(arguments, list | tuple):
            return [labels for argument in arguments for labels in self._inputs(argument)]
        return []

    def _name(self, node: object) -> str:
        return self._names[str(node)]

    def _frozen(self, node: Node, why: str) -> Labels:
        return self.labelling.freeze(self.labelling.fresh(shape_of(node)[1]), why)

    def _freeze(self, arrays: list[Labels], why: str) -> None:
        for labels in arrays:
            self.labelling.freeze(labels, why)
