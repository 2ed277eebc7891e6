"""Pruned-YOLO: sparsity that eases off, channels that fade before they go, importance weighted by the kernels.

Source: Zhang 2022, Pruned-YOLO: learning efficient object detector using model pruning, and its published code, which
prunes equal numbers but different channels along a residual chain; here a chain loses the same channels throughout.
"""

import math
from functools import partial

import numpy as np

from evaluators.result import Result
from search.methods.rounds import LayerScores, Round, by_threshold, option_at_least
from spaces.space import Keep, Space

LAST_SHARE = 0.2  # of the coefficient, at the end of a training
MASK_EVERY = 2  # epochs, from the third on
MASK_SHARE = 0.2  # of the mean scale: what is not above it fades
MASK_FACTOR = 0.1
LAYERS_SHARE = 3 / 36  # of the repeats are left out: the published 3, of the 36 of a YOLOv5l


def prune(around: Round, /) -> list[Result]:
    """Return the results of the widest candidates of a global threshold within each of the targets."""
    return by_threshold(around, partial(keep_above, around.space, around.scores))


def keep_above(space: Space, scores: LayerScores, threshold: float) -> Keep:
    """Return the keep counts, (n_genes,), of a threshold on the importance of every channel of every layer.

    A residual chain of n layers with S survivors of a total loses (total - S) // n channels, whatever each of its
    layers would lose alone. Counts are rounded up to what the space allows.
    """
    counts = []
    for index, (gene, layers) in enumerate(zip(space.genes, scores, strict=True)):
        n_scores = int((~np.isnan(layers)).sum())
        n_gone = n_scores - int((layers > threshold).sum())  # NaN is above nothing
        counts.append(option_at_least(space, index, gene.size - gene.size * n_gone // n_scores))
    return np.array(counts)


def coefficient(first: float, *, epoch: int, epochs: int) -> float:
    """Return the coefficient of sparsity at `epoch`, from 0, of `epochs`: a half cosine from `first` to its fifth."""
    wave = (1 + math.cos(math.pi * epoch / epochs)) / 2
    return first * ((1 - LAST_SHARE) * wave + LAST_SHARE)


def is_masked(epoch: int, /) -> bool:
    """Return whether channels fade at the beginning of `epoch`, from 0."""
    return epoch > 0 and epoch % MASK_EVERY == 0


def mask_threshold(mean_scale: float, /) -> float:
    """Return the absolute BatchNorm scale at or below which a channel fades, of the mean over all channels."""
    return MASK_SHARE * mean_scale


def n_layers_to_drop(n_repeats: int, /) -> int:
    """Return how many of `n_repeats` repeats are left out, at least one where there are any."""
    return min(n_repeats, max(1, round(LAYERS_SHARE * n_repeats)))
