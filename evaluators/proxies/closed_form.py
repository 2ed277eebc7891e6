"""Proxies that need no network: what the study of the parent says of a candidate, by arithmetic alone."""

from collections.abc import Callable
from functools import cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from evaluators.data.images import Images
from evaluators.measure import Evaluator
from spaces.activations.covariance import Covariance, kept_columns
from spaces.activations.patches import fitted_layers, weight_matrix
from spaces.build import Builder, Subnet
from spaces.cutting.subnet import kept_indices
from spaces.importance.by_name import Importance
from spaces.importance.scores import Scores
from spaces.importance.scoring import score_channels
from spaces.recovery.recovery import Recovery
from spaces.study import block_losses


def block_loss(_: Images, __: Recovery, /) -> Evaluator:
    """Return the evaluator of "block_loss", what reconstruction loses block by block, taken to add up: microseconds."""

    def evaluate(subnet: Subnet) -> dict[str, float]:
        builder = subnet.builder
        keep = builder.space.decode(subnet.candidate)
        return {"block_loss": float(block_losses(builder.study, keep[None])[0])}

    return evaluate


def reconstruction_loss(_: Images, __: Recovery, /) -> Evaluator:
    """Return the evaluator of "reconstruction_loss".

    It is the variance of each layer's kept outputs that its kept inputs cannot explain, by least squares, weighted
    by Fisher information and summed over layers, each with its inputs as in the parent: what one-shot reconstruction
    leaves, without building it.
    """

    @cache
    def layers_of(builder: Builder) -> dict[str, _Layer]:
        covariances = builder.covariances
        sensitivity = builder.study.sensitivity
        return {
            name: _Layer(
                covariances[name].to(torch.device("cpu")),
                weight_matrix(layer).detach().cpu(),
                torch.tensor(sensitivity[name]),
            )
            for name, layer in fitted_layers(builder.parent).items()
            if name in covariances  # not those that no prediction depends on
        }

    @torch.no_grad()
    def evaluate(subnet: Subnet) -> dict[str, float]:
        builder = subnet.builder
        kept = kept_indices(builder.graph, builder.chosen(subnet.candidate))
        originals, loss = fitted_layers(builder.parent), 0.0
        for name, layer in layers_of(builder).items():
            columns = kept_columns(originals[name], kept.get((f"{name}.weight", 1)))
            if columns is not None:
                loss += layer.loss(columns, kept.get((f"{name}.weight", 0)))
        return {"reconstruction_loss": loss}

    return evaluate


def kept_l1(_: Images, __: Recovery, /) -> Evaluator:
    """Return the evaluator of "kept_l1", the mean share of L1 that blocks keep."""
    return kept_mass("kept_l1", Importance.L1, mean_share)


def kept_contribution(_: Images, __: Recovery, /) -> Evaluator:
    """Return the evaluator of "kept_contribution", the mean share of contribution that blocks keep."""
    return kept_mass("kept_contribution", Importance.CONTRIBUTION, mean_share)


def kept_taylor(_: Images, __: Recovery, /) -> Evaluator:
    """Return the evaluator of "kept_taylor", the share of all Taylor mass that stays."""
    return kept_mass("kept_taylor", Importance.TAYLOR, total_share)


def kept_fisher(_: Images, __: Recovery, /) -> Evaluator:
    """Return the evaluator of "kept_fisher", the share of all Fisher mass that stays."""
    return kept_mass("kept_fisher", Importance.FISHER, total_share)


def kept_mass(name: str, importance: Importance, pool: Callable[[NDArray[np.float64]], float]) -> Evaluator:
    """Return the evaluator of `name`, the share of importance that stays.

    Args:
        pool: makes one share of the kept and the whole importance of each block, (2, blocks).
    """

    @cache
    def scores_of(builder: Builder) -> Scores:
        return score_channels(builder.parent, builder.graph, builder.images, importance=importance, seed=0)

    def evaluate(subnet: Subnet) -> dict[str, float]:
        scores = scores_of(subnet.builder)
        chosen = subnet.builder.chosen(subnet.candidate)
        kept = [score[stays].sum() for score, stays in zip(scores, chosen, strict=True)]
        return {name: pool(np.array([kept, [score.sum() for score in scores]]))}

    return evaluate


def mean_share(masses: NDArray[np.float64], /) -> float:
    """Return the mean over blocks of the share kept, of `masses` (2, blocks): for scores without a common unit."""
    return float((masses[0] / np.maximum(masses[1], 1e-30)).mean())


def total_share(masses: NDArray[np.float64], /) -> float:
    """Return the share kept of all blocks together, of `masses` (2, blocks): for scores in units of the loss."""
    return float(masses[0].sum() / max(masses[1].sum(), 1e-30))


class _Layer:
    """One layer of the parent and what is known of its inputs.

    Args:
        weights: (d, outputs).
        sensitivity: (outputs,).
    """

    def __init__(self, covariance: Covariance, weights: Tensor, sensitivity: Tensor) -> None:
        self._covariance = covariance
        self._weights = weights
        self._sensitivity = sensitivity

    def loss(self, columns: Tensor, made: NDArray[np.int64] | None) -> float:
        """Return the weighted loss on the inputs' `columns` of the outputs `made`, or of all."""
        weights, sensitivity = self._weights, self._sensitivity
        if made is not None:
            index = torch.from_numpy(made)
            weights, sensitivity = weights[:, index], sensitivity[index]
        return float(self._covariance.loss(weights, columns) @ sensitivity)
