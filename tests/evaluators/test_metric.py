from hypothesis import given
from hypothesis import strategies as st

from evaluators.metric import COSTS, MAP, Goal, Metric
from evaluators.proxies.by_name import METRICS

metrics = st.sampled_from(list(METRICS.values()))
values = st.floats(-1e9, 1e9)


@given(metrics, values, values)
def test_the_better_value_has_the_smaller_loss(metric: Metric, first: float, second: float) -> None:
    is_better = first > second if metric.goal is Goal.MAXIMISE else first < second
    assert (metric.loss(first) < metric.loss(second)) == is_better


def test_every_metric_is_found_by_its_name() -> None:
    assert all(METRICS[name].name == name for name in METRICS)


def test_costs_are_better_when_lower_and_map_when_higher() -> None:
    assert {metric.goal for metric in COSTS} == {Goal.MINIMISE}
    assert MAP.goal is Goal.MAXIMISE


def test_a_metric_with_a_unit_carries_it_in_its_name() -> None:
    assert all(metric.name.endswith(f"_{metric.unit.lower()}") for metric in METRICS.values() if metric.unit)
