import onnx
import pytest

from evaluators.latency.machine import this_machine
from evaluators.latency.sentinel import drift, measure_sentinel, sentinel_model


def test_the_sentinel_is_always_the_same_valid_network() -> None:
    assert sentinel_model() == sentinel_model()
    onnx.checker.check_model(onnx.load_from_string(sentinel_model()), full_check=True)
    assert measure_sentinel(threads=1).busy_ms > 0


def test_drift_is_the_slowest_above_the_fastest() -> None:
    assert drift([2.0, 2.5, 2.2]) == pytest.approx(0.25)
    assert drift([3.0]) == 0


def test_the_machine_has_a_name_that_does_not_change() -> None:
    assert this_machine() == this_machine()
    assert "cores, onnxruntime" in this_machine()
