import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from leaderboards.tuning.training import LAST_LR, learning_rate


@settings(deadline=None)
@given(n_steps=st.integers(1, 1000), n_warm_up=st.integers(1, 50), step=st.integers(0, 999))
def test_learning_rate_stays_between_zero_and_the_highest(n_steps: int, n_warm_up: int, step: int) -> None:
    assert 0 < learning_rate(min(step, n_steps - 1), n_steps=n_steps, n_warm_up=n_warm_up) <= 1


def test_learning_rate_rises_and_then_falls_to_its_last_value() -> None:
    rates = [learning_rate(step, n_steps=100, n_warm_up=9) for step in range(100)]
    assert rates[:10] == sorted(rates[:10])
    assert rates[9:] == sorted(rates[9:], reverse=True)
    assert rates[9] == 1.0
    assert rates[-1] == pytest.approx(LAST_LR, abs=1e-3)
