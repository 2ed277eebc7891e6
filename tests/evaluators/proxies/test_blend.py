import numpy as np
import pytest
from numpy.typing import NDArray

from evaluators.proxies.blend import DAMPINGS, fit_blend

Floats = NDArray[np.float64]
RNG = np.random.default_rng(0)
FEATURES = RNG.normal(3, [1.0, 10.0, 0.1], (20, 3))


def ridge(features: Floats, final: Floats, asked: Floats, damping: float) -> Floats:
    """Return the ridge regression's predictions by its normal equations; the mean is fitted free of damping."""
    ones = np.column_stack([np.ones(len(features)), features])
    penalty = np.diag([0.0, *[damping] * features.shape[1]])
    weights = np.linalg.solve(ones.T @ ones + penalty, ones.T @ final)
    return np.asarray(np.column_stack([np.ones(len(asked)), asked]) @ weights)


def test_a_final_that_is_linear_in_the_scores_is_found() -> None:
    final = FEATURES @ [1.0, -0.2, 3.0] + 5
    more = RNG.normal(3, [1.0, 10.0, 0.1], (5, 3))
    blend = fit_blend(FEATURES, final)
    assert blend.damping == min(DAMPINGS)  # nothing to damp where there is no noise
    assert blend.predict(more) == pytest.approx(more @ [1.0, -0.2, 3.0] + 5, abs=0.1)


def test_the_damping_has_the_least_error_when_each_anchor_is_left_out_in_turn() -> None:
    final = FEATURES[:, 0] + RNG.normal(0, 2, 20)
    scaled = (FEATURES - FEATURES.mean(0)) / FEATURES.std(0)

    def error(damping: float) -> float:
        rest = [np.delete(np.arange(20), index) for index in range(20)]
        said = [ridge(scaled[keep], final[keep], scaled[[index]], damping * 20)[0] for index, keep in enumerate(rest)]
        return float(np.mean((np.array(said) - final) ** 2))

    chosen = fit_blend(FEATURES, final)
    assert chosen.damping == min(DAMPINGS, key=error)
    assert chosen.predict(FEATURES) == pytest.approx(ridge(scaled, final, scaled, chosen.damping * 20))


def test_a_score_that_is_the_same_for_all_says_nothing() -> None:
    features = np.column_stack([FEATURES, np.full(20, 7.0)])
    blend = fit_blend(features, FEATURES[:, 0])
    assert blend.weights[3] == 0
    assert np.isfinite(blend.predict(features + 1)).all()


@pytest.mark.parametrize("features", [FEATURES[:2], np.where(FEATURES > 4, np.nan, FEATURES)])
def test_too_few_or_unknown_scores_are_refused(features: Floats) -> None:
    with pytest.raises(ValueError, match="at least 3 and finite"):
        fit_blend(features, np.zeros(len(features)))
