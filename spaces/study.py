"""What is found out about a parent once, before any candidate is built: which channels matter, and where to look."""

import warnings
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from spaces.covariance import Covariance, covariances, sample_places
from spaces.elimination import eliminate
from spaces.fisher import fisher_information
from spaces.graph import ChannelGraph
from spaces.importance import Importance, Scores, score_channels

Floats = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Study:
    """Plain arrays, so that Ray's object store holds them once for all workers of a node.

    Attributes:
        scores: of the channels of each block, by the importance that was asked for.
        losses: by block, (size + 1,) what reconstruction loses when so many channels are gone, Fisher-weighted.
        places: by layer, where it is reconstructed; see `sample_places`.
        matrices: by layer, the covariance of its inputs (d, d).
        means: by layer, their mean (d,).
        sensitivity: by layer, the Fisher information of each channel that it makes (C,).
    """

    scores: Scores
    losses: tuple[NDArray[np.float64], ...]
    places: Mapping[str, NDArray[np.int64]]
    matrices: Mapping[str, Floats]
    means: Mapping[str, Floats]
    sensitivity: Mapping[str, Floats]

    def covariances(self) -> dict[str, Covariance]:
        """Return the covariances as tensors that share the arrays' memory; they must not be written to."""
        return {name: Covariance(_view(self.matrices[name]), _view(self.means[name])) for name in self.matrices}


def study_parent(
    parent: nn.Module, graph: ChannelGraph, images: Tensor, /, *, importance: Importance, seed: int
) -> Study:
    """Return what `images` (N, 3, H, W), without labels, tell about `parent`, a detector in eval mode."""
    fisher = fisher_information(parent, images, seed=seed)
    places = sample_places(fisher.places, seed=seed)
    found = covariances(parent, images, places)
    order = eliminate(parent, graph, found, fisher.channels)
    if importance is Importance.GREEDY:
        scores: Scores = tuple(block.scores for block in order)
    else:
        scores = score_channels(parent, graph, images, importance=importance, seed=seed)
    return Study(
        scores,
        tuple(block.losses for block in order),
        {name: index.numpy() for name, index in places.items()},
        {name: covariance.matrix.numpy() for name, covariance in found.items()},
        {name: covariance.mean.numpy() for name, covariance in found.items()},
        {name: information.numpy() for name, information in fisher.channels.items()},
    )


def block_losses(study: Study, keep: NDArray[np.int64], /) -> NDArray[np.float64]:
    """Return what reconstruction loses at each row of `keep` (n, n_genes) if the blocks are taken to add up, (n,).

    It is exact for one cut block in the greedy order; of several, each is taken to be cut while the others are whole.
    """
    return np.asarray(losses_by_block(study, keep).sum(1))


def losses_by_block(study: Study, keep: NDArray[np.int64], /) -> NDArray[np.float64]:
    """Return what reconstruction loses in each block at each row of `keep` (n, n_genes), (n, n_genes)."""
    pairs = zip(study.losses, keep.T, strict=True)
    return np.stack([losses[len(losses) - 1 - kept] for losses, kept in pairs], axis=1)


def _view(array: Floats) -> Tensor:
    with warnings.catch_warnings():  # torch warns of arrays that are read-only, as the object store's are
        warnings.simplefilter("ignore", UserWarning)
        return torch.from_numpy(array)
