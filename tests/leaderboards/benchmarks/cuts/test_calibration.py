import pytest
import torch

from leaderboards.benchmarks.cuts.calibration import drift
from spaces.recovery.calibration import Statistics


def statistics(mean: list[float], variance: list[float]) -> Statistics:
    return Statistics(1, {"layer": torch.tensor(mean)}, {"layer": torch.tensor(variance)})


def test_a_layer_that_stays_where_it_is_has_no_drift() -> None:
    same = statistics([1.0, -2.0], [4.0, 0.0])
    assert drift(same, same)["layer"] == 0.0


def test_drift_is_the_shift_and_the_stretch_in_deviations_of_the_reference() -> None:
    moved, reference = statistics([3.0, 5.0], [4.0, 36.0]), statistics([1.0, 5.0], [4.0, 9.0])
    # (|3 - 1| / 2 + 0) and (0 + |6 / 3 - 1|), of which the mean is 1
    assert drift(moved, reference)["layer"] == pytest.approx(1.0)
