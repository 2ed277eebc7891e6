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

from spaces.covariance import Covariance
from spaces.graph import Block, ChannelGraph
from spaces.patches import fitted_layers, kernel_size, weight_matrix

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
    parent: nn.Module, graph: ChannelGraph, covariances: Mapping[str, Covariance], channels: Mapping[str, Tensor], /
) -> tuple[Elimination, ...]:
    """Return for each block of `graph` the order in which its channels go.

    Args:
        channels: Fisher information of one output value of each layer, (C,) by layer.
    """
    layers = fitted_layers(parent)
    readers: dict[int, list[_Reader]] = {index: [] for index in range(len(graph.blocks))}
    for name, layer in layers.items():
        axis = graph.axes.get((f"{name}.weight", 1))
        if axis is None:
            continue
        inverse = torch.cholesky_inverse(torch.linalg.cholesky(covariances[name].damped()))
        weights = weight_matrix(layer) * channels[name].sqrt()
        for index in np.unique(axis.blocks[axis.blocks >= 0]):
            atoms = np.where(axis.blocks == index, axis.atoms, -1)
            readers[int(index)].append(_Reader(inverse, weights, _rows(atoms, graph.blocks[index], kernel_size(layer))))
    return tuple(_empty(block, readers.pop(index)) for index, block in enumerate(graph.blocks))


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

    def remove_(self, atoms: NDArray[np.int64]) -> None:
        """Take `atoms` away and shift the weights of the others."""
        read = self._rows[atoms]
        rows = torch.from_numpy(read[read >= 0])
        if len(rows) == 0:
            return
        root = torch.linalg.cholesky(self._inverse[rows][:, rows])
        shift = torch.linalg.solve_triangular(root, self._inverse[rows], upper=False)  # (m, d)
        gone = torch.linalg.solve_triangular(root, self._weights[rows], upper=False)
        self._weights.addmm_(shift.T, gone, alpha=-1)
        self._inverse.addmm_(shift.T, shift, alpha=-1)


def _rows(atoms: NDArray[np.int64], block: Block, n_offsets: int) -> NDArray[np.int64]:
    """Return the columns of each of the block's channels in a layer whose input channels are `atoms` (-1: others)."""
    n_read = max(np.bincount(atoms[atoms >= 0]))
    rows = np.full((block.parts * block.size, n_read * n_offsets), -1)
    for atom in np.unique(atoms[atoms >= 0]):
        places = np.flatnonzero(atoms == atom)
        columns = (np.arange(n_offsets)[:, None] * len(atoms) + places).ravel()
        rows[atom, : len(columns)] = columns
    return rows


def _empty(block: Block, readers: list[_Reader]) -> Elimination:
    """Return the order of one block; the last channel of each part stays to the end."""
    part = np.arange(block.parts * block.size) // block.size
    is_left = np.ones(len(part), bool)
    scores, losses = np.zeros(len(part)), np.zeros(len(part) + 1)
    n_gone = 0
    while is_left.sum() > block.parts:
        left = np.flatnonzero(is_left)
        costs = np.sum([reader.costs(left) for reader in readers], 0) if readers else np.zeros(len(left))
        order = np.argsort(costs, kind="stable")
        going = _spare_last(left[order], part, is_left)[: max(1, int(STEP * len(left)))]
        cost = dict(zip(left.tolist(), costs.tolist(), strict=True))
        for atom in going.tolist():
            n_gone += 1
            scores[atom] = n_gone
            losses[n_gone] = losses[n_gone - 1] + cost[atom]
            is_left[atom] = False
        for reader in readers:
            reader.remove_(going)
    scores[is_left] = len(part) + 1
    losses[n_gone + 1 :] = losses[n_gone]
    return Elimination(scores, losses[:: block.parts])


def _spare_last(
    atoms: NDArray[np.int64], part: NDArray[np.int64], is_left: NDArray[np.bool_]
) -> NDArray[np.int64]:
    """Return `atoms` without the last one, in their order, of each part."""
    last = {int(part[atom]): int(atom) for atom in atoms if is_left[atom]}
    return np.array([atom for atom in atoms.tolist() if last[int(part[atom])] != atom], np.int64)
