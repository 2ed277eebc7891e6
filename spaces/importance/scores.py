"""Scores of channels: one number for each channel of each block, the higher the more it is missed."""

from collections.abc import Mapping
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from spaces.channels.graph import ChannelGraph, Use

Scores = tuple[NDArray[np.float64], ...]  # for each block, one for each of its parts * size channels


class Subject(NamedTuple):
    """What is scored, and on what.

    Attributes:
        parent: a detector in eval mode.
        images: float32 (N, 3, H, W) in [0, 1], without labels.
    """

    parent: nn.Module
    graph: ChannelGraph
    images: Tensor
    seed: int


class Scorer(Protocol):
    """Scores the channels of a parent, all at once and the same for every candidate."""

    def __call__(self, subject: Subject, /) -> Scores:
        """Return the scores of the channels of `subject`, which is left as it is.

        Raises:
            BadInput: the parent lacks what the score is made of.
        """


def collect(values: Mapping[Use, Tensor], graph: ChannelGraph, /) -> Scores:
    """Return for each block's channels the sum of `values` over the dimensions that hold them."""
    scores = tuple(np.zeros(block.parts * block.size) for block in graph.blocks)
    for use, value in values.items():
        axis = graph.axes.get(use)
        if axis is None:
            continue
        added = value.double().cpu().numpy()
        for index in np.unique(axis.blocks[axis.blocks >= 0]):
            mine = axis.blocks == index
            np.add.at(scores[index], axis.atoms[mine], added[mine])
    return scores
