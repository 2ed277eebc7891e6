from dataclasses import FrozenInstanceError
from pathlib import Path

import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper

from evaluators.latency import MIN_RUNS, measure_latency, median_interval, open_session
from spaces.errors import BadInput


def write_relu(path: Path, *, side: int | str = 8) -> Path:
    """Return `path`, where an ONNX file with one ReLU now is."""
    shape = [1, 3, side, side]
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in ("images", "output0")]
    graph = helper.make_graph([helper.make_node("Relu", ["images"], ["output0"])], "relu", values[:1], values[1:])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10), path)
    return path


def test_latency_is_positive_and_says_how_it_was_measured(tmp_path: Path) -> None:
    latency = measure_latency(write_relu(tmp_path / "relu.onnx"), threads=1, max_seconds=0.1)
    assert 0 < latency.median_ms <= latency.p95_ms
    assert latency.n >= MIN_RUNS
    assert latency.threads == 1


def test_no_time_is_enough_for_the_least_number_of_runs(tmp_path: Path) -> None:
    assert measure_latency(write_relu(tmp_path / "relu.onnx"), threads=1, max_seconds=0).n == MIN_RUNS


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


def test_input_of_unknown_size_is_bad_input(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="static shape"):
        measure_latency(write_relu(tmp_path / "dynamic.onnx", side="side"), threads=1)


def test_no_threads_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="at least 1, got 0"):
        open_session(write_relu(tmp_path / "relu.onnx"), threads=0)


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
