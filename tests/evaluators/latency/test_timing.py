import os
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evaluators.latency.timing import MIN_RUNS, alone_and_pinned, median_interval, time_calls
from evaluators.latency.turns import LEAST_TURNS, MOST_RUNS, MOST_TURNS, compare_calls


def work(n: int) -> int:
    return sum(range(n))


@settings(deadline=None, max_examples=40)
@given(st.lists(st.floats(0.01, 1e3), min_size=6, max_size=200))
def test_interval_holds_the_median(times: list[float]) -> None:
    low, high = median_interval(times)
    ordered = sorted(times)
    assert low <= ordered[(len(times) - 1) // 2]
    assert high >= ordered[len(times) // 2]


def test_interval_is_that_of_the_order_statistics() -> None:
    # n = 100: 50 -+ 1.96 * 10 / 2 = 40.2 and 59.8, outwards to the places 40 and 60 of 0 to 99
    assert median_interval([float(i) for i in range(100)]) == (40.0, 60.0)


def test_waiting_takes_time_but_keeps_no_processor_busy() -> None:
    latency = time_calls(lambda: time.sleep(0.002), threads=1, max_seconds=0)
    assert latency.median_ms >= 2
    assert latency.busy_ms < 1
    assert latency.n == MIN_RUNS


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system pins nothing")
def test_the_thread_is_pinned_meanwhile_and_free_again_afterwards() -> None:
    before = os.sched_getaffinity(0)
    with alone_and_pinned(1) as cpus:
        assert os.sched_getaffinity(0) == set(cpus)
        assert len(cpus) == 1
    assert os.sched_getaffinity(0) == before


def test_twice_the_work_takes_twice_as_long_beside_the_yardstick() -> None:
    found = compare_calls(lambda: work(40_000), lambda: work(20_000), seconds=0.5)
    assert found.ratio == pytest.approx(2, rel=0.3)
    assert found.busy_ms > found.yardstick_ms
    assert found.wall_ms > 0


@pytest.mark.parametrize(("seconds", "turns", "runs"), [(0.0, LEAST_TURNS, 1), (60.0, MOST_TURNS, MOST_RUNS)])
def test_a_turn_has_one_run_to_warm_up_and_as_many_more_as_fit(seconds: float, turns: int, runs: int) -> None:
    calls: list[int] = []
    compare_calls(lambda: calls.append(1), lambda: work(1000), seconds=seconds)
    assert len(calls) == 2 + turns * (1 + runs)  # two to find out how many fit
