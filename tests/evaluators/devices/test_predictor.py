import math

import numpy as np
import pytest

from evaluators.devices.predictor import N_SHARED, Geometry, Keep, fit_latency, fit_macs
from spaces.channels.graph import ChannelGraph
from tests.spaces.chain import chain_graph

POSITIONS = 64  # of each of the three convolutions of the chain


def naive_ms(keep: Keep, *, block: int) -> float:
    """Return a made-up time of the chain 3 - first - second - 4: 3 x 3, then twice 1 x 1, on blocks of channels."""
    first, second = (int(k) for k in keep)
    layers = ((9, 3, first, 2.0), (1, first, second, 3.0), (1, second, 4, 1.0))  # kernel, read, written, rate
    time = 0.05
    for kernel, read, written, rate in layers:
        blocks = math.ceil(read / block) * block * math.ceil(written / block) * block
        time += rate * kernel * blocks * POSITIONS / 1e6 + 0.5 * written * POSITIONS / 1e3
    return time


def networks(n: int, *, seed: int) -> Keep:
    rng = np.random.default_rng(seed)
    return np.column_stack([rng.integers(1, 7, n), rng.integers(1, 6, n)])


def test_the_columns_are_those_of_a_naive_count() -> None:
    keep = np.array([[5, 3]])
    columns = Geometry.of(chain_graph()).columns(keep, (4, 8))[0]
    # reads 3, 5, 3 are rounded up to 4, 8, 4 and writes 5, 3, 4 to 8, 8, 8
    macs = [4 * 8 * 9 * POSITIONS / 1e6, 8 * 8 * POSITIONS / 1e6, 4 * 8 * POSITIONS / 1e6]
    values = [5 * POSITIONS / 1e3, 3 * POSITIONS / 1e3, 4 * POSITIONS / 1e3]
    read = (3 + 5 + 3) * POSITIONS / 1e3
    assert columns.tolist() == pytest.approx([1, sum(macs), sum(values), read, *macs, *values])
    assert len(columns) == N_SHARED + 2 * 3


@pytest.mark.parametrize("block", [1, 4])
def test_networks_that_were_not_timed_are_predicted(block: int) -> None:
    geometry, keep, unseen = Geometry.of(chain_graph()), networks(60, seed=0), networks(40, seed=1)
    fit = fit_latency(geometry, keep, np.array([naive_ms(row, block=block) for row in keep]))
    truth = np.array([naive_ms(row, block=block) for row in unseen])
    np.testing.assert_allclose(fit.predictor(geometry, unseen), truth, rtol=0.02)
    assert np.abs(fit.errors).max() < 0.05
    assert len(fit.errors) == 60


def test_noise_does_not_run_away_with_the_layers_own_rates() -> None:
    geometry, keep = Geometry.of(chain_graph()), networks(24, seed=0)
    truth = np.array([naive_ms(row, block=1) for row in keep])
    noisy = truth * np.random.default_rng(2).normal(1, 0.05, 24)
    fit = fit_latency(geometry, keep, noisy)
    assert np.abs(fit.predictor(geometry, keep) / truth - 1).mean() < 0.04


@pytest.mark.parametrize(("n", "time"), [(7, 1.0), (20, 0.0)])
def test_too_few_networks_and_impossible_times_are_refused(n: int, time: float) -> None:
    with pytest.raises(ValueError, match="at least 8 networks with times above 0"):
        fit_latency(Geometry.of(chain_graph()), networks(n, seed=0), np.full(n, time))


def test_the_peer_is_a_straight_line() -> None:
    macs = np.array([1.0, 2.0, 4.0, 8.0])
    assert fit_macs(macs, 0.5 + 3 * macs) == pytest.approx((0.5, 3.0))


def test_what_is_never_cut_is_counted_too() -> None:
    graph: ChannelGraph = chain_graph().without({"first": "refused", "second": "refused"})
    columns = Geometry.of(graph).columns(np.zeros((1, 0), np.int64), (1, 1))[0]
    # 3 x 6 x 9 + 6 x 5 + 5 x 4 products at 64 positions
    assert columns[1] == pytest.approx((3 * 6 * 9 + 6 * 5 + 5 * 4) * POSITIONS / 1e6)
