from itertools import permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import kendalltau, spearmanr

from leaderboards.reports.resampling import N_RESAMPLES, draw_resamples, interval, kendalls, regret, spearmans

RNG = np.random.default_rng(0)
X = np.round(RNG.normal(size=9), 1)
Y = np.round(X + RNG.normal(size=9), 0)  # with ties
RESAMPLES = RNG.integers(9, size=(40, 9))


def test_correlations_of_resamples_are_those_of_each_alone() -> None:
    rho, tau = spearmans(X, Y, RESAMPLES), kendalls(X, Y, RESAMPLES)
    for index, row in enumerate(RESAMPLES):
        assert rho[index] == pytest.approx(spearmanr(X[row], Y[row]).statistic)
        assert tau[index] == pytest.approx(kendalltau(X[row], Y[row]).statistic)


def test_a_constant_resample_has_no_correlation_and_does_not_count() -> None:
    one = np.zeros((1, 9), np.int64)
    values = np.concatenate([spearmans(X, Y, one), kendalls(X, Y, one), [0.2, 0.4]])
    assert np.isnan(values[:2]).all()
    assert interval(values) == pytest.approx((0.205, 0.395))  # 2.5 and 97.5 % of the way from .2 to .4
    assert interval(values[:2]) is None


def test_resamples_are_seeded_and_inside() -> None:
    drawn = draw_resamples(5)
    assert drawn.shape == (N_RESAMPLES, 5)
    assert (np.unique(drawn) == np.arange(5)).all()
    assert (draw_resamples(5) == drawn).all()
    assert (draw_resamples(5, seed=1) != drawn).any()


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 20)), min_size=1, max_size=6), st.integers(1, 7))
def test_regret_is_the_mean_over_all_orders_of_equal_scores(rows: list[tuple[int, int]], n_tried: int) -> None:
    score, truth = (np.array(column, float) for column in zip(*rows, strict=True))
    best = []
    for order in permutations(range(len(rows))):
        falling = sorted(order, key=lambda index: -score[index])  # a stable sort: ties stay in this order
        best.append(max(truth[index] for index in falling[:n_tried]))
    assert regret(score, truth, n_tried=n_tried) == pytest.approx(truth.max() - np.mean(best))
