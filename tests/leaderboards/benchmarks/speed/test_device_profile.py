import numpy as np
import pytest

from evaluators.data.images import load_images
from evaluators.devices.network_timer import Timings, draw_networks
from evaluators.latency.turns import Comparison
from leaderboards.benchmarks.speed.device_profile import fit_profile, make_timer
from leaderboards.benchmarks.speed.latency_rows import AGAIN, BUSY, OURS, PAIRED, PEER, WALL, latency_rows
from leaderboards.runs.problem import Problem

PARENT_MS = 2.0


def made_up(problem: Problem, n: int, *, seed: int, slower: float = 1.0) -> Timings:
    """Return timings of a machine that takes 0.2 of the parent's time and the rest by the number of parameters."""
    keep = np.stack(draw_networks(problem.space, n, seed=seed))
    params = problem.space.population_costs(keep)["params_m"] / problem.space.costs(problem.space.parent)["params_m"]
    times = tuple(Comparison(ratio, ratio * PARENT_MS * slower, ratio * 9, PARENT_MS) for ratio in 0.2 + 0.8 * params)
    return Timings(keep, times, times, (1.0, 1.1), (1,), 60.0)


def test_a_few_networks_are_timed_in_both_precisions_beside_their_parent(problem: Problem) -> None:
    timer = make_timer(problem, load_images(problem.inputs.dataset.train, imgsz=64))
    smallest = np.array([gene.options[0] for gene in problem.space.genes])
    timings = timer.time([smallest, problem.space.decode(problem.space.parent)], seconds=0)
    assert timings.keep.shape == (2, len(problem.space.genes))
    for comparisons in (timings.fp32, timings.int8):
        small, whole = comparisons
        assert small.ratio < whole.ratio
        assert whole.ratio == pytest.approx(1, rel=0.3)  # the parent beside itself
    assert len(timings.sentinel_ms) == 2  # before and after
    assert timings.seconds > 0


def test_draws_differ_in_size_and_repeat_with_their_seed(problem: Problem) -> None:
    drawn = np.stack(draw_networks(problem.space, 40, seed=0))
    np.testing.assert_array_equal(drawn, np.stack(draw_networks(problem.space, 40, seed=0)))
    low, high = problem.space.reach()["macs_g"]
    macs = problem.space.population_costs(drawn)["macs_g"]
    assert macs.min() < low + 0.2 * (high - low)
    assert macs.max() > low + 0.8 * (high - low)


def test_a_profile_says_what_it_is_of_and_knows_its_parent(problem: Problem) -> None:
    device = fit_profile(problem, made_up(problem, 40, seed=0), imgsz=64).device
    device.check_use(parent=problem.inputs.fingerprint, imgsz=64, threads=1)
    assert device.foreign() is None
    assert (device.n_networks, device.minutes, device.cpus) == (40, 1.0, (1,))
    assert device.drift == pytest.approx(0.1)
    predicted = device.latency(problem.space, problem.graph)([problem.space.parent])[0]
    assert predicted["latency_ms"] == pytest.approx(PARENT_MS, rel=0.1)
    assert predicted["int8_latency_ms"] == predicted["latency_ms"]


def test_the_table_holds_each_prediction_against_each_measurement(problem: Problem) -> None:
    timings = made_up(problem, 60, seed=0)
    visits = made_up(problem, 30, seed=1), made_up(problem, 25, seed=1, slower=1.3)  # the second saw fewer
    profile = fit_profile(problem, timings, imgsz=64)
    rows = {
        (row["precision"], row["prediction"], row["measured"]): row
        for row in latency_rows(problem, profile, timings, visits)
    }
    assert len(rows) == 2 * 3 * 3
    assert all(row["n"] == 25 for row in rows.values())
    assert float(rows["fp32", AGAIN, BUSY]["median_error"]) == pytest.approx(0.3)  # 1.3 times as slow
    assert float(rows["fp32", AGAIN, PAIRED]["median_error"]) == pytest.approx(0, abs=1e-9)
    assert float(rows["int8", AGAIN, WALL]["within_10"]) == 1
    ours, peer = rows["fp32", OURS, PAIRED], rows["fp32", PEER, PAIRED]
    assert float(ours["median_error"]) < float(peer["median_error"])  # the time does not go with the MACs here
