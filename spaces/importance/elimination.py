"""Which channels reconstruction can do without: each block emptied one channel after the other, the cheapest first.

What it costs to lose a channel is the variance, weighted by Fisher information, that the layers reading it can no
longer explain when least squares has shifted its part to the channels that are left. So of two channels that tell the
same only one is dear. Each block is emptied by itself, all others whole; the order serves any keep count.
Source: LeCun 1990, Optimal brain damage; Hassibi 1993, Optimal brain surgeon; Frantar 2022, Optimal brain compression
(arXiv:2208.11580) for the update of the inverse, here for groups of weights. Ours: Fisher weights, whole blocks.
"""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from spaces.activations.covariance import Covariance, root_of
from spaces.activations.patches import fitted_layers, kernel_size, weight_matrix
from spaces.channels.graph import Block, ChannelGraph
from spaces.importance.scores import Scores

STEP = 0.05  # of the channels that are left go at a time; one by one takes twice as long and gains nothing


class Elimination(NamedTuple):
    """The order in which a block's channels can be spared.

    Attributes:
        scores: (parts * size,) the higher, the later a channel goes.
        losses: (size + 1,) the loss when so many channels of each part are gone.
    """

    scores: NDArray[np.float64]
    losses: NDArray[np.float64]


@torch.no_grad()
def eliminate(
    parent: nn.Module,
    graph: ChannelGraph,
    covariances: Mapping[str, Covariance],
    channels: Mapping[str, Tensor],
    /,
    *,
    scores: Scores | None = None,
) -> tuple[Elimination, ...]:
    """Return for each block of `graph` the order in which its channels go, and what that loses.

    Args:
        channels: Fisher information of the outputs of each layer, (C,) by layer.
        scores: the order to follow, the lowest first; None for the cheapest first.
    """
    layers = fitted_layers(parent)
    readers: dict[int, list[_Reader]] = {index: [] for index in range(len(graph.blocks))}
    for name in covariances:
        layer, axis = layers[name], graph.axes.get((f"{name}.weight", 1))
        if axis is None:
            continue
        inverse = torch.cholesky_inverse(root_of(covariances[name].damped()))
        weights = weight_matrix(layer) * channels[name].sqrt()
        for index in np.unique(axis.blocks[axis.blocks >= 0]):
            atoms = np.where(axis.blocks == index, axis.atoms, -1)
            readers[int(index)].append(_Reader(inverse, weights, _rows(atoms, graph.blocks[index], kernel_size(layer))))
    given = scores or [None] * len(graph.blocks)
    return tuple(_empty(block, readers.pop(index), given[index]) for index, block in enumerate(graph.blocks))


class _Reader:
    """One layer that reads a block: the inverse covariance and the best weights of the channels that are left.

    Args:
        inverse: (d, d) of the damped covariance.
        weights: (d, outputs), scaled.
        rows: (atoms, m) the columns of the covariance that belong to each channel of the block; -1 fills up.
    """

    def __init__(self, inverse: Tensor, weights: Tensor, rows: NDArray[np.int64]) -> None:
        own, places = np.unique(rows[rows >= 0], return_inverse=True)
        self._rows = np.full(rows.shape, -1)
        self._rows[rows >= 0] = places
        self._n_rows = (rows >= 0).sum(1)
        index = torch.from_numpy(own)
        self._inverse = inverse[index][:, index]  # what becomes of the rows of other blocks is not needed
        self._weights = weights[index]

    def costs(self, atoms: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return what the loss of each of `atoms` alone would cost, (n,)."""
        costs, n_rows = np.zeros(len(atoms)), self._n_rows[atoms]
        for m in np.unique(n_rows[n_rows > 0]):  # one m, unless the parts of a block are not read equally often
            rows = torch.from_numpy(self._rows[atoms[n_rows == m], :m])  # (n, m)
            squares = self._inverse[rows[:, :, None], rows[:, None, :]]  # (n, m, m)
            scaled = torch.linalg.solve_triangular(torch.linalg.cholesky(squares), self._weights[rows], upper=False)
            costs[n_rows == m] = scaled.square().sum((1, 2)).double().numpy()
        return costs

    def remove_(self, atoms: NDArray[np.int64]) -> float:
        """Take `atoms` away, shift the weights of the others and return what that costs."""
        read = self._rows[atoms]
        rows = torch.from_numpy(read[read >= 0])
        if len(rows) == 0:
            return 0.0
        root = torch.linalg.cholesky(self._inverse[rows][:, rows])
        shift = torch.linalg.solve_triangular(root, self._inverse[rows], upper=False)  # (m, d)
        gone = torch.linalg.solve_triangular(root, self._weights[rows], upper=False)
        self._weights.addmm_(shift.T, gone, alpha=-1)
        self._inverse.addmm_(shift.T, shift, alpha=-1)
        return float(gone.double().square().sum())


def _rows(atoms: NDArray[np.int64], block: Block, n_offsets: int) -> NDArray[np.int64]:
    """Return the columns of each of the block's channels in a layer whose input channels are `atoms` (-1: others)."""
    n_read = max(np.bincount(atoms[atoms >= 0]))
    rows = np.full((block.parts * block.size, n_read * n_offsets), -1)
    for atom in np.unique(atoms[atoms >= 0]):
        places = np.flatnonzero(atoms == atom)
        columns = (np.arange(n_offsets)[:, None] * len(atoms) + places).ravel()
        rows[atom, : len(columns)] = columns
    return rows


def _empty(block: Block, readers: list[_Reader], given: NDArray[np.float64] | None) -> Elimination:
    """Return the order of one block, whose parts lose equally many channels; the last one of each stays to the end."""
    scores, losses = np.full(block.parts * block.size, float(block.size)), np.zeros(block.size + 1)
    left = np.arange(block.parts * block.size).reshape(block.parts, block.size)
    while left.shape[1] > 1:
        n_gone, n_going = block.size - left.shape[1], max(1, int(STEP * left.shape[1]))
        costs = np.sum([np.zeros(left.size), *(reader.costs(left.ravel()) for reader in readers)], 0)
        costs = costs.reshape(left.shape)
        order = (costs if given is None else given[left]).argsort(axis=1, kind="stable")
        going = np.take_along_axis(left, order[:, :n_going], 1)
        alone = np.cumsum(np.take_along_axis(costs, order[:, :n_going], 1).sum(0))  # (n_going,)
        together = sum(reader.remove_(going.ravel()) for reader in readers)
        scores[going] = n_gone + np.arange(n_going)
        losses[n_gone + 1 : n_gone + n_going + 1] = losses[n_gone] + alone * (together / max(alone[-1], 1e-300))
        left = np.sort(np.take_along_axis(left, order[:, n_going:], 1), 1)
    losses[-1] = losses[-2]
    return Elimination(scores, losses)
