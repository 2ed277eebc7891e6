"""Latency is measured, never derived: one ONNX file, ONNX Runtime's CPU kernels, batch 1.

The median is repeated until its own uncertainty is small, so a quiet machine is done soon and a noisy one shows
in `p95_ms` and in the number of runs.
"""

import fcntl
import math
import os
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray
from onnxruntime.capi.onnxruntime_pybind11_state import Fail, InvalidGraph, InvalidProtobuf, NoSuchFile

from spaces.errors import BadInput

MIN_RUNS = 30
WARM_UP_RUNS = 5
PRECISION = 0.03  # half the 95 % interval of the median, relative to the median


@dataclass(frozen=True)
class Latency:
    """The time of one inference of one image.

    Attributes:
        median_ms: median over `n` runs, in milliseconds.
        p95_ms: 95th percentile, in milliseconds.
        n: how many runs were timed.
        threads: threads that a single operator may use.
    """

    median_ms: float
    p95_ms: float
    n: int
    threads: int


def open_session(path: Path, *, threads: int) -> ort.InferenceSession:
    """Return a CPU session of the ONNX file at `path` whose operators run one after the other on `threads` threads.

    Raises:
        BadInput: the file is missing or not a model that ONNX Runtime can run.
    """
    if threads < 1:
        raise ValueError(f"threads must be at least 1, got {threads}")
    options = ort.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
    options.log_severity_level = 3  # errors only
    try:
        return ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except (Fail, InvalidGraph, InvalidProtobuf, NoSuchFile) as error:
        raise BadInput(f"{path} must be an ONNX file: {error}") from error


@contextmanager
def _alone_on_this_machine() -> Iterator[None]:
    """Wait until no other process of ours times anything here, and keep the others waiting meanwhile."""
    with (Path(tempfile.gettempdir()) / f"yolo-budget-search-{os.getuid()}.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def measure_latency(path: Path, *, threads: int, max_seconds: float = 2.0) -> Latency:
    """Return how long one image takes in the ONNX file at `path`, which has one input of static shape.

    Runs are timed until the 95 % interval of their median is within 3 % of it or `max_seconds` have passed, and
    at least 30 times.

    Raises:
        BadInput: the file is missing, is not a model, or has an input of unknown size.
    """
    session = open_session(path, threads=threads)
    feed = {session.get_inputs()[0].name: _noise(session, path)}
    times: list[float] = []  # milliseconds
    with _alone_on_this_machine():
        for _ in range(WARM_UP_RUNS):
            session.run(None, feed)
        deadline = time.perf_counter() + max_seconds
        while len(times) < MIN_RUNS or (time.perf_counter() < deadline and not _is_settled(times)):
            start = time.perf_counter()
            session.run(None, feed)
            times.append((time.perf_counter() - start) * 1e3)
    median, p95 = np.percentile(times, [50, 95])
    return Latency(float(median), float(p95), len(times), threads)


def median_interval(times: Sequence[float]) -> tuple[float, float]:
    """Return the 95 % confidence interval of the median of at least 6 values, free of any assumed distribution.

    Source: the order statistics at n/2 -+ 1.96 sqrt(n)/2 (Conover 1999, Practical Nonparametric Statistics, 3.2).
    """
    ordered, n = sorted(times), len(times)
    reach = 1.96 * math.sqrt(n) / 2
    return ordered[max(math.floor(n / 2 - reach), 0)], ordered[min(math.ceil(n / 2 + reach), n - 1)]


def _is_settled(times: Sequence[float]) -> bool:
    low, high = median_interval(times)
    return (high - low) / 2 <= PRECISION * float(np.median(times))


def _noise(session: ort.InferenceSession, path: Path) -> NDArray[np.float32]:
    """Return a float32 image of the shape that the model takes, values in [0, 1]."""
    shape = session.get_inputs()[0].shape
    if not all(isinstance(size, int) for size in shape):
        raise BadInput(f"{path} must have an input of static shape, got {shape}")
    return np.asarray(np.random.default_rng(0).random(shape), np.float32)
