"""From labels to blocks: every channel of every activation has a label, and labels with the same uses are cut together.

Parts of a chunked tensor must keep equally many channels. Where each part is one block's whole, they are parts of that
block and free to keep different ones. Else, as where channels are shuffled before they are chunked again, opposite
channels are united, which is stricter and always right.
"""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from spaces.channels.graph import Axis, Block, Layer, Use

Labels = NDArray[np.int64]  # one label for each channel; several dimensions where a tensor's channels have several
_Signature = frozenset[tuple[object, int]]  # the uses of a label, and how often


class Blocks(NamedTuple):
    """What can be cut, and where: see `ChannelGraph`."""

    blocks: tuple[Block, ...]
    axes: Mapping[Use, Axis]
    kept_whole: Mapping[str, str]


class Labelling:
    """Labels in a union-find, which of them must stay, and where each is used."""

    def __init__(self) -> None:
        self._parents: list[int] = []
        self._frozen: dict[int, str] = {}
        self._uses: dict[Use, Labels] = {}
        self._ties: list[list[Labels]] = []

    def fresh(self, count: int) -> Labels:
        """Return `count` new labels."""
        start = len(self._parents)
        self._parents.extend(range(start, start + count))
        return np.arange(start, start + count)

    def freeze(self, labels: Labels, why: str) -> Labels:
        """Keep all of `labels` whole, and return them."""
        for label in labels.ravel():
            self._frozen.setdefault(int(label), why)
        return labels

    def unite(self, first: Labels, second: Labels) -> Labels:
        """Cut each of `first` together with its opposite of `second`, and return the first."""
        for a, b in zip(first.ravel(), second.ravel(), strict=True):
            one, other = self._find(int(a)), self._find(int(b))
            self._parents[max(one, other)] = min(one, other)
        return first

    def use(self, tensor: str, dimension: int, labels: Labels) -> None:
        """Say that `labels` are those of a dimension of `tensor`; one that is used twice is cut once."""
        self.unite(self._uses.setdefault((tensor, dimension), labels), labels)

    def tie(self, parts: list[Labels]) -> None:
        """Say that `parts` must keep equally many channels."""
        self._ties.append(parts)

    def blocks(self, layers: Sequence[Layer]) -> Blocks:
        """Return the blocks, named after the layers that make them."""
        groups, frozen = self._groups()
        uses = {use: self._roots(labels) for use, labels in self._uses.items()}
        order = {int(label): rank for rank, label in enumerate(dict.fromkeys(np.concatenate(list(uses.values()))))}
        groups.sort(key=lambda group: order[group[0][0]])
        place: dict[int, tuple[int, int]] = {}
        found: list[Block] = []
        taken: Counter[str] = Counter()
        for index, group in enumerate(groups):
            name = layer_of(next(use for use, labels in uses.items() if use[1] == 0 and group[0][0] in labels)[0])
            taken[name] += 1
            unique = name if taken[name] == 1 else f"{name}#{taken[name]}"
            found.append(Block(unique, len(group[0]), len(group)))
            place |= {label: (index, atom) for atom, label in enumerate(label for part in group for label in part)}
        axes = {use: _axis(labels, place) for use, labels in uses.items()}
        firsts = {layer_of(layer.weight): int(uses[layer.weight, 0][0]) for layer in layers}
        whole = {name: frozen.get(first, "not understood") for name, first in firsts.items() if first not in place}
        return Blocks(tuple(found), {use: axis for use, axis in axes.items() if (axis.blocks >= 0).any()}, whole)

    def _groups(self) -> tuple[list[list[list[int]]], dict[int, str]]:
        """Return the classes of labels that keep equally many channels, group by group, and why others are kept."""
        classes = self._settled_classes()
        members = list(classes.values())
        frozen = {self._find(label): why for label, why in self._frozen.items()}
        for signature, labels in classes.items():
            if not _is_consumed(signature):
                frozen |= {label: frozen.get(label, "read by no convolution") for label in labels}
        home = {label: index for index, labels in enumerate(members) for label in labels}
        leader = list(range(len(members)))
        for parts in self._ties:
            indices = [leader[home[self._find(int(part[0]))]] for part in parts]
            leader = [min(indices) if one in indices else one for one in leader]
        groups: dict[int, list[list[int]]] = defaultdict(list)
        for index, labels in enumerate(members):
            groups[leader[index]].append(labels)
        for group in groups.values():
            reason = next((frozen[label] for part in group for label in part if label in frozen), None)
            reason = "a single channel" if reason is None and len(group[0]) == 1 else reason
            if reason is not None:
                frozen |= {label: frozen.get(label, reason) for part in group for label in part}
        return [group for group in groups.values() if group[0][0] not in frozen], frozen

    def _settled_classes(self) -> dict[_Signature, list[int]]:
        """Return the labels with equal uses when all parts that still are tied are one whole class each."""
        while loose := self._loose(classes := self._classes()):
            self._ties = [parts for number, parts in enumerate(self._ties) if number not in loose]
            for parts in loose.values():
                self._tighten(parts)
        return classes

    def _classes(self) -> dict[_Signature, list[int]]:
        """Return the labels with equal uses, in the order of their first appearance."""
        signature: dict[int, Counter[object]] = defaultdict(Counter)
        for use, labels in self._uses.items():
            for label in self._roots(labels):
                signature[int(label)][use] += 1
        for number, parts in enumerate(self._ties):
            for index, part in enumerate(parts):
                for label in set(self._roots(part).tolist()) & signature.keys():
                    signature[label]["tie", number, index] = 1
        classes: dict[_Signature, list[int]] = defaultdict(list)
        for label, counts in signature.items():
            classes[frozenset(counts.items())].append(label)
        return classes

    def _loose(self, classes: Mapping[_Signature, list[int]]) -> dict[int, list[Labels]]:
        """Return by number the ties whose parts are not one whole class each."""
        home = {label: labels for labels in classes.values() for label in labels}
        loose = {}
        for number, parts in enumerate(self._ties):
            roots = [self._roots(part).tolist() for part in parts]
            is_even = len({len(part) for part in parts}) == 1
            if not is_even or any(sorted(part) != sorted(home.get(part[0], ())) for part in roots):
                loose[number] = parts
        return loose

    def _tighten(self, parts: list[Labels]) -> None:
        """Unite opposite labels of `parts`, or freeze them if they are of different lengths.

        A part is the mirror image of the one before it: a run of equal labels that spans two parts meets itself.
        """
        is_even = len({len(part) for part in parts}) == 1
        for index, part in enumerate(parts):
            if is_even:
                self.unite(parts[0], part[::-1] if index % 2 else part)
            else:
                self.freeze(part, "chunked unevenly")

    def _roots(self, labels: Labels) -> Labels:
        return np.array([self._find(int(label)) for label in labels])

    def _find(self, label: int) -> int:
        while self._parents[label] != label:
            self._parents[label] = self._parents[self._parents[label]]
            label = self._parents[label]
        return label


def layer_of(tensor: str, /) -> str:
    """Return the layer's short name: "2.cv1" for model.2.cv1.conv.weight."""
    return tensor.removeprefix("model.").removesuffix(".weight").removesuffix(".conv")


def _is_consumed(signature: _Signature) -> bool:
    dimensions = {use[1] for use, _ in signature if isinstance(use, tuple) and len(use) == 2}
    return dimensions >= {0, 1}


def _axis(labels: Labels, place: Mapping[int, tuple[int, int]]) -> Axis:
    pairs = np.array([place.get(int(label), (-1, 0)) for label in labels])
    return Axis(pairs[:, 0], pairs[:, 1])
