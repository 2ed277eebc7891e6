"""How anything is timed here: warm, alone, pinned, and repeated until the median is known.

Two clocks run. The wall clock gives what a user waits. The clock of the timing thread stands still while the kernel
lets others run: on two cores with six busy processes, five timings of the sentinel gave 1.5 to 7.6 ms by the wall
clock and 1.44 to 1.47 ms by the thread's own. So profiles are fitted to the time a thread is busy.
"""

import fcntl
import math
import os
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from evaluators.runtimes.onnx_runtime import open_call

MIN_RUNS = 30
WARM_UP_RUNS = 5
PRECISION = 0.03  # half the 95 % interval of the median, relative to the median


@dataclass(frozen=True)
class Latency:
    """The time of one call.

    Attributes:
        median_ms: median over `n` runs, in milliseconds.
        p95_ms: 95th percentile.
        low_ms: lower end of the 95 % interval of the median; `high_ms` the upper.
        busy_ms: median of the time for which the calling thread had a processor.
        n: how many runs were timed.
        threads: threads that a single operator may use.
        cpus: the processors that they were kept on; empty where the system keeps no thread in place.
    """

    median_ms: float
    p95_ms: float
    low_ms: float
    high_ms: float
    busy_ms: float
    n: int
    threads: int
    cpus: tuple[int, ...]


def measure_latency(model: Path | bytes, *, threads: int, max_seconds: float = 2.0) -> Latency:
    """Return how long one image takes in an ONNX file or its content, which has one input of static shape.

    Raises:
        BadInput: the file is missing, is not a model, or has an input of unknown size.
    """
    return measure_call(lambda: open_call(model, threads=threads), threads=threads, max_seconds=max_seconds)


def measure_call(make: Callable[[], Callable[[], object]], /, *, threads: int, max_seconds: float = 2.0) -> Latency:
    """Return how long the call takes that `make` returns.

    Runs are timed until the 95 % interval of their median is within 3 % of it or `max_seconds` have passed, and
    at least 30 times; no other process of ours times anything on this machine meanwhile.

    Args:
        make: opens what is called; the threads that it starts are kept in place too.
    """
    with alone_and_pinned(threads) as cpus:
        return time_calls(make(), threads=threads, cpus=cpus, max_seconds=max_seconds)


def time_calls(
    call: Callable[[], object], /, *, threads: int, cpus: tuple[int, ...] = (), max_seconds: float
) -> Latency:
    """Return how long `call` takes.

    After a warm-up it runs until the 95 % interval of the median is within 3 % of it by both clocks or `max_seconds`
    have passed, and at least 30 times.

    Args:
        cpus: what `alone_and_pinned` gave, to be written down.
    """
    for _ in range(WARM_UP_RUNS):
        call()
    times: list[float] = []  # milliseconds by the wall clock
    busy: list[float] = []  # and by the thread's own
    deadline = time.perf_counter() + max_seconds
    while len(times) < MIN_RUNS or (time.perf_counter() < deadline and not _is_settled(times, busy)):
        start, own = time.perf_counter(), time.thread_time()
        call()
        busy.append((time.thread_time() - own) * 1e3)
        times.append((time.perf_counter() - start) * 1e3)
    median, p95 = np.percentile(times, [50, 95])
    low, high = median_interval(times)
    return Latency(float(median), float(p95), low, high, float(np.median(busy)), len(times), threads, cpus)


@contextmanager
def alone_and_pinned(threads: int) -> Iterator[tuple[int, ...]]:
    """Wait until no other process of ours times anything here, then keep this thread, and those it starts, in place.

    Yields:
        The processors, as many as `threads`, or none where that cannot be done.
    """
    with (Path(tempfile.gettempdir()) / f"yolo-budget-search-{os.getuid()}.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with _pinned(threads) as cpus:
            yield cpus


def median_interval(times: Sequence[float]) -> tuple[float, float]:
    """Return the 95 % confidence interval of the median of at least 6 values, free of any assumed distribution.

    Source: the order statistics at n/2 -+ 1.96 sqrt(n)/2 (Conover 1999, Practical Nonparametric Statistics, 3.2).
    """
    ordered, n = sorted(times), len(times)
    reach = 1.96 * math.sqrt(n) / 2
    return ordered[max(math.floor(n / 2 - reach), 0)], ordered[min(math.ceil(n / 2 + reach), n - 1)]


@contextmanager
def _pinned(threads: int) -> Iterator[tuple[int, ...]]:
    if not hasattr(os, "sched_setaffinity"):  # macOS
        yield ()
        return
    allowed = os.sched_getaffinity(0)
    cpus = tuple(sorted(allowed)[-threads:])  # the first ones serve most interrupts
    try:
        os.sched_setaffinity(0, cpus)
    except OSError:  # some containers forbid it
        yield ()
        return
    try:
        yield cpus
    finally:
        os.sched_setaffinity(0, allowed)


def _is_settled(*clocks: Sequence[float]) -> bool:
    for times in clocks:
        low, high = median_interval(times)
        if (high - low) / 2 > PRECISION * float(np.median(times)):
            return False
    return True
