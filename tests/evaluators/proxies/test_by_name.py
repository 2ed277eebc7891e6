import inspect
from pkgutil import resolve_name

import pytest

from evaluators.proxies.by_name import METRICS, PROXIES
from spaces.recovery.recovery import Recovery


@pytest.mark.parametrize("name", PROXIES)
def test_every_row_names_what_makes_its_evaluator(name: str) -> None:
    row = PROXIES[name]
    assert row.name == name
    assert METRICS[name] is row.metric
    inspect.signature(resolve_name(row.evaluator)).bind("images", "recovery")  # raises if it takes anything else


@pytest.mark.parametrize("name", PROXIES)
def test_a_proxy_that_follows_the_run_has_a_row_for_each_recovery_and_others_stand_alone(name: str) -> None:
    row = PROXIES[name]
    assert row.follows_run == (row.of_kind is not None)
    for recovery, other in (row.of_kind or {}).items():
        assert PROXIES[other].recovery is recovery
    assert row.of_kind is None or set(row.of_kind) == set(Recovery)
