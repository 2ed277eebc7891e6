"""The channel graph: which slices of which tensors belong together, read from the network itself.

`torch.export` gives the network as ATen operations. Every channel of every activation gets a label, and labels are
pushed through the operations: a convolution consumes its input's labels and makes fresh ones, what works channel by
channel passes them on, sums unite them, concatenation joins and chunking cuts the arrays. What mixes or reshapes
channels in a way that is not understood here freezes them. Channels with the same uses form a block.
No rule knows a module type, so a new family needs nothing; the probe (probe.py) then trusts nothing.
"""

import copy
import warnings
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.fx import Node
from torch.utils.flop_counter import FlopCounterMode

from spaces.aten import PASSING, READING_ONLY_THE_TYPE, UNITING, dimension_of, keeps_channels, operation
from spaces.graph import Axis, Block, ChannelGraph, Layer, Use

Labels = NDArray[np.int64]  # (channels,) one label for each
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
    return trace.graph(shapes, parameters, other_macs=counter.get_total_flops() // 2 - conv_macs)


class _Trace:
    """The state of one walk over an exported graph: labels in a union-find, and where each is used."""

    def __init__(self, names: Mapping[str, str]) -> None:
        self.layers: list[Layer] = []
        self._names = names
        self._parents: list[int] = []
        self._frozen: dict[int, str] = {}
        self._values: dict[Node, Value] = {}
        self._uses: dict[Use, Labels] = {}
        self._ties: list[list[Labels]] = []
        self._scales: set[str] = set()

    def visit(self, node: Node) -> None:
        """Work out what is known of `node` and remember it."""
        if node.op == "placeholder":
            is_image = node.name not in self._names and "val" in node.meta and node.meta["val"].dim() == 4
            self._values[node] = self._frozen_labels(node, "the image") if is_image else None
        elif node.op == "output":
            first = node.args[0][0] if isinstance(node.args[0], Sequence) else node.args[0]
            self._freeze(self._inputs([first]), "the network's output")
        else:
            self._values[node] = self._call(node, operation(node))

    def _call(self, node: Node, name: str) -> Value:
        known = self._inputs(node.args[:1] if name in READING_ONLY_THE_TYPE else node.args)
        if name == "conv2d":
            return self._convolution(node)
        if name == "batch_norm":
            return self._batch_norm(node)
        if name == "getitem":
            pieces = self._values.get(node.args[0])  # type: ignore[arg-type]
            return pieces[node.args[1]] if isinstance(pieces, list) else None  # type: ignore[index]
        if not known:
            return None
        if name in READING_ONLY_THE_TYPE and name != "type_as":
            return None
        if name in PASSING and len(known) == 1:
            return known[0]
        if name in UNITING and (united := self._unite_operands(node, known)) is not None:
            return united
        if name == "cat" and dimension_of(node, 1) == 1 and len(known) == len(node.args[0]):  # type: ignore[arg-type]
            return np.concatenate(known)
        if name in ("chunk", "split", "split_with_sizes") and dimension_of(node, 2) == 1:
            return self._cut(known[0], node.meta["val"])
        if name == "mean" and keeps_channels(node):
            return known[0]
        self._freeze(known, f"read by {name}")
        return None

    def _convolution(self, node: Node) -> Value:
        weight = self._name(node.args[1])
        x = self._values.get(node.args[0])  # type: ignore[arg-type]
        out, per_group, *_ = node.args[1].meta["val"].shape  # type: ignore[union-attr]
        groups = node.args[6] if len(node.args) > 6 else 1
        positions = int(np.prod(node.meta["val"].shape[2:]))
        is_depthwise = bool(groups == out and per_group == 1 and groups != 1)
        self.layers.append(Layer(weight, positions, is_depthwise))
        if is_depthwise and isinstance(x, np.ndarray):
            made = x
        else:
            made = self._fresh(out)
            if groups == 1 and isinstance(x, np.ndarray):
                self._use(weight, 1, x)
            else:
                self._freeze(self._inputs([node.args[0]]), "read by a grouped convolution")
        if groups != 1 and not is_depthwise:
            self._freeze([made], "made by a grouped convolution")
        self._use(weight, 0, made)
        if len(node.args) > 2 and node.args[2] is not None:
            self._use(self._name(node.args[2]), 0, made)
        return made

    def _batch_norm(self, node: Node) -> Value:
        x = self._values.get(node.args[0])  # type: ignore[arg-type]
        if not isinstance(x, np.ndarray):
            return None
        for argument in node.args[1:5]:
            if argument is not None:
                self._use(self._name(argument), 0, x)
        if node.args[1] is not None:
            self._scales.add(self._name(node.args[1]))
        return x

    def _unite_operands(self, node: Node, known: list[Labels]) -> Labels | None:
        """Return the common labels of a sum or product, None if it mixes channels in another way."""
        n_tensors = sum(isinstance(argument, Node) for argument in node.args)
        if len(known) == 1 and n_tensors == 1:
            return known[0]  # with a scalar
        if len(known) != 2 or len(known[0]) != len(known[1]):
            return None
        for a, b in zip(*known, strict=True):
            self._union(int(a), int(b))
        return known[0]

    def _cut(self, labels: Labels, pieces: Sequence[torch.Tensor]) -> list[Labels]:
        sizes = [piece.shape[1] for piece in pieces]
        parts = np.split(labels, np.cumsum(sizes)[:-1])
        self._ties.append(parts)
        return parts

    def graph(
        self, shapes: Mapping[str, tuple[int, ...]], parameters: tuple[str, ...], *, other_macs: int
    ) -> ChannelGraph:
        """Return the blocks that the walk found."""
        uses = {use: np.array([self._find(int(label)) for label in labels]) for use, labels in self._uses.items()}
        classes = self._classes(uses)
        frozen = {self._find(label): why for label, why in self._frozen.items()}
        tied = self._tied_classes(classes, frozen)
        order = {int(label): rank for rank, label in enumerate(dict.fromkeys(np.concatenate(list(uses.values()))))}
        tied.sort(key=lambda group: order[group[0][0]])
        blocks: list[Block] = []
        place: dict[int, tuple[int, int]] = {}
        taken: Counter[str] = Counter()
        for index, group in enumerate(tied):
            name = _layer_of(next(use for use, labels in uses.items() if use[1] == 0 and group[0][0] in labels)[0])
            taken[name] += 1
            unique = name if taken[name] == 1 else f"{name}#{taken[name]}"
            blocks.append(Block(unique, len(group[0]), len(group)))
            place |= {label: (index, atom) for atom, label in enumerate(label for part in group for label in part)}
        axes = {use: _axis(labels, place) for use, labels in uses.items()}
        return ChannelGraph(
            tuple(blocks),
            {use: axis for use, axis in axes.items() if (axis.blocks >= 0).any()},
            tuple(self.layers),
            frozenset(self._scales),
            shapes,
            parameters,
            other_macs,
            self._whole_layers(uses, place, frozen),
        )

    def _classes(self, uses: Mapping[Use, Labels]) -> dict[frozenset[tuple[object, int]], list[int]]:
        """Return the labels with equal uses, in the order of their first appearance."""
        signature: dict[int, Counter[object]] = defaultdict(Counter)
        for use, labels in uses.items():
            for label in labels:
                signature[int(label)][use] += 1
        for number, parts in enumerate(self._ties):
            for index, part in enumerate(parts):
                for label in {self._find(int(label)) for label in part}:
                    if label in signature:
                        signature[label]["tie", number, index] = 1
        classes: dict[frozenset[tuple[object, int]], list[int]] = defaultdict(list)
        for label, counts in signature.items():
            classes[frozenset(counts.items())].append(label)
        return classes

    def _tied_classes(
        self, classes: Mapping[frozenset[tuple[object, int]], list[int]], frozen: dict[int, str]
    ) -> list[list[list[int]]]:
        """Return groups of classes that keep equally many channels, without those that cannot be cut."""
        home = {label: index for index, labels in enumerate(classes.values()) for label in labels}
        members = list(classes.values())
        leader = list(range(len(members)))
        for index, signature in enumerate(classes):
            if not _is_consumed(signature):
                frozen |= {label: frozen.get(label, "read by no convolution") for label in members[index]}
        for parts in self._ties:
            found = [
                {home[self._find(int(label))] for label in part if self._find(int(label)) in home} for part in parts
            ]
            if all(len(one) == 1 and len(members[min(one)]) == len(parts[0]) for one in found):
                indices = [leader[min(one)] for one in found]
                leader = [min(indices) if one in indices else one for one in leader]
            else:
                loose = [label for one in found for index in one for label in members[index]]
                frozen |= dict.fromkeys((label for label in loose if label not in frozen), "chunked unevenly")
        groups: dict[int, list[list[int]]] = defaultdict(list)
        for index, labels in enumerate(members):
            groups[leader[index]].append(labels)
        for group in groups.values():
            reason = next((frozen[label] for part in group for label in part if label in frozen), None)
            if reason is not None:
                frozen |= {label: frozen.get(label, reason) for part in group for label in part}
        return [group for group in groups.values() if not any(label in frozen for part in group for label in part)]

    def _whole_layers(
        self, uses: Mapping[Use, Labels], place: Mapping[int, tuple[int, int]], frozen: Mapping[int, str]
    ) -> dict[str, str]:
        whole = {}
        for layer in self.layers:
            first = int(uses[layer.weight, 0][0])
            if first not in place:
                whole[_layer_of(layer.weight)] = frozen.get(first, "not understood")
        return whole

    def _inputs(self, arguments: object) -> list[Labels]:
        if isinstance(arguments, Node):
            value = self._values.get(arguments)
            return value if isinstance(value, list) else [value] if value is not None else []
        if isinstance(arguments, list | tuple):
            return [labels for argument in arguments for labels in self._inputs(argument)]
        return []

    def _name(self, node: object) -> str:
        return self._names[str(node)]

    def _use(self, tensor: str, dimension: int, labels: Labels) -> None:
        before = self._uses.setdefault((tensor, dimension), labels)
        for a, b in zip(before, labels, strict=True):  # a tensor that is used twice is cut once
            self._union(int(a), int(b))

    def _fresh(self, count: int) -> Labels:
        start = len(self._parents)
        self._parents.extend(range(start, start + count))
        return np.arange(start, start + count)

    def _frozen_labels(self, node: Node, why: str) -> Labels:
        labels = self._fresh(node.meta["val"].shape[1])
        self._freeze([labels], why)
        return labels

    def _freeze(self, arrays: list[Labels], why: str) -> None:
        for labels in arrays:
            for label in labels:
                self._frozen.setdefault(int(label), why)

    def _find(self, label: int) -> int:
        while self._parents[label] != label:
            self._parents[label] = self._parents[self._parents[label]]
            label = self._parents[label]
        return label

    def _union(self, a: int, b: int) -> None:
        a, b = self._find(a), self._find(b)
        self._parents[max(a, b)] = min(a, b)


def _is_consumed(signature: frozenset[tuple[object, int]]) -> bool:
    uses = [use for use, _ in signature if isinstance(use, tuple) and len(use) == 2]
    return any(use[1] == 1 for use in uses) and any(use[1] == 0 for use in uses)


def _layer_of(tensor: str) -> str:
    """Return the layer's short name: "2.cv1" for model.2.cv1.conv.weight."""
    return tensor.removeprefix("model.").removesuffix(".weight").removesuffix(".conv")


def _axis(labels: Labels, place: Mapping[int, tuple[int, int]]) -> Axis:
    pairs = np.array([place.get(int(label), (-1, 0)) for label in labels])
    return Axis(pairs[:, 0], pairs[:, 1])
