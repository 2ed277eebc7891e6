"""A proxy that is learned: cheap scores of a few fine-tuned candidates, the anchors, blended to predict the others.

Ridge regression on standardised scores; the damping is the one with the least leave-one-out error, which has a closed
form. A dozen anchors determine it, where a forest or a Gaussian process would need many times as many.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

DAMPINGS = tuple(float(damping) for damping in np.logspace(-2, 4, 25))  # relative to a unit variance of one score


@dataclass(frozen=True, eq=False)
class Blend:
    """A weighted sum of standardised scores.

    Attributes:
        centres: (n_features,) what is subtracted of each score.
        scales: (n_features,) what it is divided by then.
        weights: (n_features,)
        level: the prediction where all scores are at their centres.
        damping: of the ridge regression, as chosen.
    """

    centres: Floats
    scales: Floats
    weights: Floats
    level: float
    damping: float

    def predict(self, features: Floats, /) -> Floats:
        """Return what is expected of `features` (n, n_features), (n,)."""
        return np.asarray((features - self.centres) / self.scales @ self.weights + self.level)


class _Fit(NamedTuple):
    weights: Floats
    error: float  # mean square, leave-one-out


def fit_blend(features: Floats, final: Floats, /) -> Blend:
    """Return the blend of `features` (n, n_features) that predicts `final` (n,) of candidates not seen best.

    Raises:
        ValueError: fewer than 3 anchors, or a value that is not finite.
    """
    if len(features) < 3 or not (np.isfinite(features).all() and np.isfinite(final).all()):
        raise ValueError(f"anchors must be at least 3 and finite, got {len(features)}")
    centres, level = features.mean(0), float(final.mean())
    spread = features.std(0)
    scales = np.where(spread > 1e-12 * (1 + np.abs(centres)), spread, np.inf)  # a constant score says nothing
    left, values, right = np.linalg.svd((features - centres) / scales, full_matrices=False)
    fits = {damping: _ridge(left, values, right, final - level, damping * len(final)) for damping in DAMPINGS}
    best = min(fits, key=lambda damping: fits[damping].error)
    return Blend(centres, scales, fits[best].weights, level, best)


def _ridge(left: Floats, values: Floats, right: Floats, target: Floats, damping: float) -> _Fit:
    """Return the ridge regression on the matrix left @ diag(values) @ right, (n, f), of the centred `target`.

    Source: the leave-one-out error e / (1 - h), h of the hat matrix (Golub 1979, Generalized cross-validation, 1.4).
    """
    shrunk = values / (values**2 + damping)
    weights = right.T @ (shrunk * (left.T @ target))
    hat = (left**2) @ (values * shrunk) + 1 / len(target)  # the mean is fitted too
    residual = target - left @ (values * shrunk * (left.T @ target))
    return _Fit(weights, float(np.mean((residual / np.maximum(1 - hat, 1e-9)) ** 2)))
