"""What the channel graph of one network is made of: plain data, without torch."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
from numpy.typing import NDArray

Use = tuple[str, int]  # a tensor of the state dict and one of its dimensions


@dataclass(frozen=True)
class Block:
    """Channels that are cut together.

    Attributes:
        name: the layer that first makes them, as in "2.cv1".
        size: channels of one part in the parent.
        parts: 1, or the number of pieces of a chunked tensor, which must keep equally many channels each.
    """

    name: str
    size: int
    parts: int


@dataclass(frozen=True)
class Axis:
    """To which block each index of one dimension of one tensor belongs.

    Attributes:
        blocks: (n,) index of the block, -1 where the channel is never cut.
        atoms: (n,) which of the block's `parts * size` channels it is.
    """

    blocks: NDArray[np.int64]
    atoms: NDArray[np.int64]


@dataclass(frozen=True)
class Layer:
    """One convolution as the cost arithmetic sees it.

    Attributes:
        weight: its tensor in the state dict.
        positions: output height times width at the traced image size.
        is_depthwise: whether each output channel reads one input channel.
    """

    weight: str
    positions: int
    is_depthwise: bool


@dataclass(frozen=True)
class ChannelGraph:
    """What can be cut out of one network, and what each cut touches.

    Attributes:
        axes: by (tensor name, dimension); a dimension without an axis is never cut.
        layers: every convolution call, in the order of the forward pass.
        shapes: of every tensor of the state dict.
        parameters: the names of those that are trained.
        scales: the BatchNorm weights, which vanish when BatchNorm is folded into its convolution.
        other_macs: MACs of everything that is no convolution (attention), which cutting leaves alone.
        kept_whole: layers whose outputs no block covers, and why.
    """

    blocks: tuple[Block, ...]
    axes: Mapping[Use, Axis]
    layers: tuple[Layer, ...]
    scales: frozenset[str]
    shapes: Mapping[str, tuple[int, ...]]
    parameters: tuple[str, ...]
    other_macs: int
    kept_whole: Mapping[str, str]

    def without(self, refused: Mapping[str, str]) -> Self:
        """Return the graph in which the blocks named in `refused` are whole, with the reasons given there."""
        kept = [index for index, block in enumerate(self.blocks) if block.name not in refused]
        renumber = np.full(len(self.blocks) + 1, -1)
        renumber[kept] = np.arange(len(kept))
        axes = {use: Axis(renumber[axis.blocks], axis.atoms) for use, axis in self.axes.items()}
        return replace(
            self,
            blocks=tuple(self.blocks[index] for index in kept),
            axes={use: axis for use, axis in axes.items() if (axis.blocks >= 0).any()},
            kept_whole={**self.kept_whole, **refused},
        )
