import os
from collections.abc import Callable
from dataclasses import FrozenInstanceError
from pathlib import Path

import pytest

from evaluators.latency.timing import MIN_RUNS, measure_call, measure_latency
from evaluators.runtimes.onnx_runtime import open_session
from spaces.errors import BadInput
from tests.evaluators.tiny_onnx import write_relu


def test_latency_is_positive_and_says_how_it_was_measured(tmp_path: Path) -> None:
    latency = measure_latency(write_relu(tmp_path / "relu.onnx"), threads=1, max_seconds=0.1)
    assert 0 < latency.low_ms <= latency.median_ms <= latency.high_ms
    assert latency.median_ms <= latency.p95_ms
    assert latency.busy_ms > 0
    assert latency.n >= MIN_RUNS
    assert latency.threads == 1


def test_a_file_and_its_content_are_the_same_network(tmp_path: Path) -> None:
    path = write_relu(tmp_path / "relu.onnx")
    assert measure_latency(path.read_bytes(), threads=1, max_seconds=0).n == MIN_RUNS


def test_no_time_is_enough_for_the_least_number_of_runs(tmp_path: Path) -> None:
    assert measure_latency(write_relu(tmp_path / "relu.onnx"), threads=1, max_seconds=0).n == MIN_RUNS


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system pins nothing")
def test_what_is_timed_is_opened_where_the_thread_is_kept() -> None:
    opened, calls = list[set[int]](), list[int]()

    def make() -> Callable[[], object]:
        opened.append(os.sched_getaffinity(0))
        return lambda: calls.append(1)

    latency = measure_call(make, threads=1, max_seconds=0)
    assert opened == [set(latency.cpus)]
    assert len(calls) > latency.n == MIN_RUNS  # some runs warm it up


def test_latency_cannot_be_changed(tmp_path: Path) -> None:
    latency = measure_latency(write_relu(tmp_path / "relu.onnx"), threads=1, max_seconds=0)
    with pytest.raises(FrozenInstanceError):
        latency.median_ms = 0.0  # type: ignore[misc]


def test_missing_and_damaged_files_are_bad_input(tmp_path: Path) -> None:
    damaged = tmp_path / "damaged.onnx"
    damaged.write_bytes(b"no model")
    for path in (damaged, tmp_path / "missing.onnx"):
        with pytest.raises(BadInput, match=path.name):
            measure_latency(path, threads=1)
    with pytest.raises(BadInput, match="a model of 8 bytes must be an ONNX file"):
        measure_latency(b"no model", threads=1)


def test_input_of_unknown_size_is_bad_input(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="static shape"):
        measure_latency(write_relu(tmp_path / "dynamic.onnx", side="side"), threads=1)


def test_no_threads_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="at least 1, got 0"):
        open_session(write_relu(tmp_path / "relu.onnx"), threads=0)
