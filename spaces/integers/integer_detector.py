"""A detector in integers alone: from a network whose layers have bits to one that computes without floats.

Every tensor between its layers is of unsigned integers of at most 8 bits, 4 where all that read it have 4. Convolutions
sum products of integers in int32, bias included; what leads from there to the next tensor's grid is a whole-numbered
multiplier and a shift, or with power-of-two scales the shift alone. Functions of single numbers are tables of integers.
Floats are left at both ends: pixels are put on the first layer's grid, and what the head's last convolutions make is
dequantized before it is decoded.
Source: Jacob 2018 (arXiv:1712.05877).
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.fx import Node

from spaces.bits.ranges import Grid
from spaces.bits.simulation import MIN_IMAGES
from spaces.errors import BadInput
from spaces.integers.arithmetic import decode, encode
from spaces.integers.operations import Graph, Outputs, sources
from spaces.integers.plan import plan
from spaces.integers.steps import Convolution, Entry, Join, Step, Sum


@dataclass(frozen=True)
class Agreement:
    """How many integers of some images were compared with float64, and how many were not the same.

    Attributes:
        n_sums: accumulators, held against the sums of the same layer reading the same numbers.
        n_sums_differing: those that are not the nearest integer to that.
        n_rescaled: what was rescaled to a tensor's grid, held against exact rescaling of the same numbers.
        n_rescaled_differing: those that are another integer.
        n_drifted: accumulators that differ when the simulation runs on its own from the images to the end.
    """

    n_sums: int
    n_sums_differing: int
    n_rescaled: int
    n_rescaled_differing: int
    n_drifted: int


class IntegerDetector:
    """Computes what `network` does, in integers.

    Args:
        network: a detector whose layers have bits, at most 8, as a `Simulator` or quantization-aware training makes it.
        images: for the ranges of tensors between layers, float32 (N, 3, H, H) in [0, 1], at least 8.
        is_power_of_two: whether all scales are, so that rescaling is a shift; weights are rounded again to such grids.

    Attributes:
        steps: what is computed, by the nodes of the exported graph, in order.

    Raises:
        BadInput: too few images, or the network has what is not here in integers: attention, say, or a layer in the way
            that has no bits.
    """

    def __init__(self, network: nn.Module, images: Tensor, /, *, is_power_of_two: bool = False) -> None:
        if len(images) < MIN_IMAGES:
            raise BadInput(f"calibration images must be at least {MIN_IMAGES}, got {len(images)}")
        self._graph = Graph(network, imgsz=images.shape[-1])
        self.steps = plan(self._graph, images, is_power_of_two=is_power_of_two)

    @torch.no_grad()
    def __call__(self, images: Tensor, /) -> Outputs:
        """Return the outputs for float32 `images` of the size of the calibration images, as the network does."""
        return self._graph.run(images, self._codes, self._decoded)

    @torch.no_grad()
    def simulate(self, images: Tensor, /) -> Outputs:
        """Return the same computed in float64 on numbers that are rounded at the same places."""
        return self._graph.run(images, self._numbers, _as_it_is)

    @torch.no_grad()
    def agreement(self, images: Tensor, /) -> Agreement:
        """Return how far integers and their simulation agree on `images`, whose sums are all kept at once."""
        counts, sums = Counter[str](), dict[Node, Tensor]()

        def look(node: Node, read: Sequence[Tensor]) -> Tensor:
            step, made = self.steps[node], self._codes(node, read)
            if not isinstance(step, Entry):
                numbers = [decode(self._grid(source), each) for source, each in zip(sources(node), read, strict=True)]
                counts.update(_compared(step, read, numbers, made))
            if isinstance(step, Convolution):
                sums[node] = step.accumulators(read[0])
            return made

        def look_again(node: Node, read: Sequence[Tensor]) -> Tensor:
            step = self.steps[node]
            if isinstance(step, Convolution):
                counts["n_drifted"] += int((_whole_sums(step, read[0]) != sums[node]).sum())
            return self._numbers(node, read)

        self._graph.run(images, look, self._decoded)
        self._graph.run(images, look_again, _as_it_is)
        return Agreement(**{name: counts[name] for name in Agreement.__dataclass_fields__})

    def _codes(self, node: Node, read: Sequence[Tensor]) -> Tensor:
        return self.steps[node].codes(*read)

    def _numbers(self, node: Node, read: Sequence[Tensor]) -> Tensor:
        return self.steps[node].numbers(*read)

    def _decoded(self, node: Node, codes: Tensor) -> Tensor:
        return decode(self._grid(node), codes).float()

    def _grid(self, node: Node) -> Grid:
        grid = self.steps[node].made
        assert grid is not None  # only last layers make no codes, and nothing here reads these
        return grid


def _as_it_is(_: Node, numbers: Tensor) -> Tensor:
    return numbers.float()


def _compared(step: Step, read: Sequence[Tensor], numbers: Sequence[Tensor], made: Tensor) -> dict[str, int]:
    """Return the counts of one step that made the codes `made` of `read`, which stand for `numbers`."""
    found = dict[str, int]()
    if isinstance(step, Convolution):
        sums = step.accumulators(read[0])
        found |= {"n_sums": sums.numel(), "n_sums_differing": int((_whole_sums(step, numbers[0]) != sums).sum())}
    if isinstance(step, Convolution | Sum | Join) and step.made is not None:
        exact = encode(step.made, step.numbers(*numbers))
        found |= {"n_rescaled": made.numel(), "n_rescaled_differing": int((exact != made).sum())}
    return found


def _whole_sums(step: Convolution, numbers: Tensor) -> Tensor:
    """Return the nearest integers to the sums of the simulation, in units of the accumulators."""
    return (step.sums(numbers) / step.unit.view(1, -1, 1, 1)).round().long()
