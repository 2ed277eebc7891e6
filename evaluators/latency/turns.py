"""Two calls timed against each other, in turns, so that what the machine does meanwhile happens to both."""

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Call = Callable[[], object]

LEAST_TURNS, MOST_TURNS = 6, 24
MOST_RUNS = 5  # in a turn


@dataclass(frozen=True)
class Comparison:
    """How long a call takes beside a yardstick.

    Attributes:
        ratio: the call's busy time over the yardstick's, the least of each turn: what disturbs only adds. The median
            over the turns.
        busy_ms: median of the time for which the calling thread had a processor.
        wall_ms: median by the wall clock.
        yardstick_ms: the yardstick's median busy time.
    """

    ratio: float
    busy_ms: float
    wall_ms: float
    yardstick_ms: float


def compare_calls(call: Call, yardstick: Call, /, *, seconds: float) -> Comparison:
    """Return how long `call` takes beside `yardstick`.

    They take turns of 1 to 5 runs, 6 to 24 times, about `seconds` in all; the first run of each turn finds the other's
    data in the caches and is not counted.
    """
    n_turns, n_runs = _plan(call, yardstick, seconds)
    ours, theirs = [], []  # of (n_runs, 2) milliseconds: by the thread's own clock and by the wall clock
    for _ in range(n_turns):
        ours.append(_turn(call, n_runs))
        theirs.append(_turn(yardstick, n_runs))
    least, yardstick_least = (np.array(turns)[..., 0].min(1) for turns in (ours, theirs))
    (busy, wall), (yardstick_busy, _) = (np.median(np.concatenate(turns), axis=0) for turns in (ours, theirs))
    return Comparison(float(np.median(least / yardstick_least)), float(busy), float(wall), float(yardstick_busy))


def _plan(call: Call, yardstick: Call, seconds: float) -> tuple[int, int]:
    """Warm both up and return how many turns, of how many counted runs, fit."""
    call()
    yardstick()
    started = time.perf_counter()
    call()
    yardstick()
    one = time.perf_counter() - started
    n_runs = int(np.clip(seconds / (LEAST_TURNS * one) - 1, 1, MOST_RUNS))
    return int(np.clip(seconds / ((1 + n_runs) * one), LEAST_TURNS, MOST_TURNS)), n_runs


def _turn(call: Call, n_runs: int) -> NDArray[np.float64]:
    call()
    times = np.zeros((n_runs, 2))
    for run in range(n_runs):
        start, own = time.perf_counter(), time.thread_time()
        call()
        times[run] = (time.thread_time() - own) * 1e3, (time.perf_counter() - start) * 1e3
    return times
