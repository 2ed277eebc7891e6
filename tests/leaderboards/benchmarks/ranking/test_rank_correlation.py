import numpy as np
import pytest
from scipy.stats import spearmanr

from leaderboards.benchmarks.ranking.rank_correlation import (
    PEER,
    UNKNOWN,
    Column,
    by_spearman,
    ceiling,
    correlation,
    holds,
    mean_spearman,
)

TRUTH = np.linspace(0.3, 0.6, 40)
RNG = np.random.default_rng(0)
PEER_COLUMN = Column(PEER, TRUTH + RNG.normal(0, 0.2, 40), 4.0)
GOOD = Column("good", TRUTH + RNG.normal(0, 0.01, 40), 0.5)


def test_a_proxy_is_held_against_the_peer_on_the_same_candidates() -> None:
    peer, good = correlation([PEER_COLUMN, GOOD], TRUTH)
    expected = [spearmanr(column.scores, TRUTH).statistic for column in (PEER_COLUMN, GOOD)]
    assert (peer.spearman, good.spearman) == pytest.approx(tuple(expected))
    assert good.gain == pytest.approx(expected[1] - expected[0])
    assert good.gain_interval is not None
    assert good.gain_interval.low > 0
    assert (good.n, good.share) == (40, 0.125)
    assert (peer.gain, peer.gain_interval) == (0, (0, 0))  # the same resamples: nothing is left of the noise
    assert good.holds
    assert not peer.holds


def test_an_interval_is_about_that_of_repeated_sampling() -> None:
    found = correlation([PEER_COLUMN], TRUTH)[0].spearman_interval
    assert found is not None
    again = np.random.default_rng(1)
    noise = again.normal(0, 0.2, (2000, 40))
    spread = np.percentile([spearmanr(TRUTH + row, TRUTH).statistic for row in noise], [2.5, 97.5])
    assert found.high - found.low == pytest.approx(spread[1] - spread[0], rel=0.4)


def test_a_proxy_with_one_value_has_no_order_and_the_regret_of_a_blind_choice() -> None:
    constant = correlation([PEER_COLUMN, Column("constant", np.zeros(40), 1.0)], TRUTH)[1]
    assert (constant.spearman, constant.kendall, constant.gain) == (None, None, None)
    assert constant.regret[0] == pytest.approx(0.6 - 0.45)
    assert not constant.holds
    row = constant.to_row()
    assert row["spearman"] == row["gain_low"] == UNKNOWN
    assert row.keys() == correlation([PEER_COLUMN], TRUTH)[0].to_row().keys()


def test_what_could_not_be_measured_is_not_ranked() -> None:
    scores = np.where(np.arange(40) < 30, TRUTH, np.nan)
    found = correlation([PEER_COLUMN, Column("broken", scores, 1.0)], TRUTH)[1]
    assert found.n == 30
    assert found.spearman == pytest.approx(1.0)
    assert correlation([PEER_COLUMN, Column("dead", np.full(40, np.nan), 1.0)], TRUTH)[1:] == []


def test_the_best_proxy_is_so_over_all_budgets_and_holds_in_each() -> None:
    bins = [correlation([PEER_COLUMN, GOOD], TRUTH), correlation([PEER_COLUMN, Column("good", -TRUTH, 0.5)], TRUTH)]
    first = bins[0][1].spearman
    assert first is not None
    assert mean_spearman(bins, "good") == pytest.approx((first - 1) / 2)
    assert by_spearman(bins) == [PEER, "good"]
    assert holds(bins[:1], "good")
    assert not holds(bins, "good")


def test_the_ceiling_is_how_two_seeds_agree() -> None:
    assert ceiling([(1.0, 1.1), (2.0, 2.1), (3.0, 3.3), (4.0, 3.2)]) == pytest.approx(0.8)
    assert ceiling([(1.0, 1.0)]) is None
