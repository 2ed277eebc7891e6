import pytest
from hypothesis import given
from hypothesis import strategies as st

from evaluators.budget import Budget

names = st.sampled_from(["macs_g", "params_m", "size_mb", "latency_ms"])
numbers = st.dictionaries(names, st.floats(0.01, 100).map(lambda value: round(value, 2)))


@given(numbers, numbers)
def test_what_is_over_is_exactly_what_exceeds_its_limit(limits: dict[str, float], readings: dict[str, float]) -> None:
    budget = Budget(limits)
    over = budget.violations(readings)
    assert all(readings[name] > limits[name] for name in over)
    assert all(readings[name] <= limits[name] for name in limits.keys() & readings.keys() - set(over))
    assert (budget.excess(readings) > 0) == bool(over)


@given(numbers, numbers)
def test_scaling_by_one_plus_the_excess_makes_everything_fit(
    limits: dict[str, float], readings: dict[str, float]
) -> None:
    scale = 1 + Budget(limits).excess(readings)
    assert Budget({name: limit * scale * (1 + 1e-12) for name, limit in limits.items()}).violations(readings) == ()


def test_a_limit_that_is_met_exactly_is_met() -> None:
    assert Budget({"macs_g": 2.0}).violations({"macs_g": 2.0}) == ()
    assert Budget({"macs_g": 2.0}).excess({"macs_g": 2.0}) == 0.0
    third = 36 / 100 * 1.1
    assert Budget({"macs_g": third}).violations({"macs_g": third * (1 + 1e-15)}) == ()
    assert Budget({"macs_g": third}).violations({"macs_g": third * (1 + 1e-6)}) == ("macs_g",)


def test_a_limit_without_a_reading_is_not_judged() -> None:
    assert Budget({"latency_ms": 1.0}).violations({"macs_g": 9.0}) == ()


def test_the_excess_is_that_of_the_worst_limit() -> None:
    readings = {"macs_g": 3.0, "params_m": 5.0, "size_mb": 1.0}
    assert Budget({"macs_g": 2.0, "params_m": 4.0, "size_mb": 9.0}).excess(readings) == pytest.approx(0.5)
