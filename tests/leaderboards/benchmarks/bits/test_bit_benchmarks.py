import numpy as np
import pytest

from evaluators.result import Result, Status
from leaderboards.benchmarks.bits.bit_sensitivity import draw_choices
from leaderboards.benchmarks.bits.joint_bits import covered
from leaderboards.benchmarks.running import run
from spaces.bits.layer_bits import BitTable, cross_bits
from spaces.candidate import Candidate
from spaces.errors import BadInput
from tests.spaces.chain import chain_graph


def test_random_allocations_reach_from_nearly_all_bits_to_any() -> None:
    table = BitTable(chain_graph(), cross_bits([2, 4, 8], [4, 8]))
    choices = np.array(draw_choices(table, n=200))
    spared = (choices == len(table.options) - 1).mean(1)
    assert np.array_equal(choices, draw_choices(table, n=200))
    assert len(np.unique(choices, axis=0)) > 20
    assert 0.5 < spared.mean() < 0.9  # a share of E u^2 = 1/3 at random, of which one sixth has the most bits, too
    assert spared.min() == 0


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("allocation points=1", "points must be a number from 2"),
        ("allocation seeds=0", "seeds must be a number from 1"),
        ("bit_sensitivity n=10", "n must be a number from 20"),
        ("bit_sensitivity images=no", "images must be a number from 1"),
        ("quantized_export images=7", "images must be a number from 8"),
        ("integer n=0", "n must be a number from 1"),
        ("integer data=nonsense", "data='nonsense' must be digits"),
        ("joint_bits n=3", "n must be a number from 4"),
        ("joint_bits seeds=0", "seeds must be a number from 1"),
        ("joint_bits size=200", "size must be different percentages from 1 to 100"),
        ("bit_sensitivity data=nonsense", "data='nonsense' must be digits"),
    ],
)
def test_what_cannot_be_asked_is_refused(words: str, told: str) -> None:
    with pytest.raises(BadInput, match=told):
        run(words.split())


def test_what_a_side_covers_is_the_volume_below_its_limits() -> None:
    limits = {"size_mb": 2.0, "macs_g": 4.0}
    rows = [(0.5, 1.0, 2.0, Status.DONE), (0.8, 2.0, 3.0, Status.DONE), (0.9, 3.0, 3.0, Status.OVER_BUDGET)]
    results = [
        Result(number, Candidate("same", ()), status, {"map50_95": score, "size_mb": size, "macs_g": macs}, 1.0)
        for number, (score, size, macs, status) in enumerate(rows)
    ]
    found = covered(results, limits)
    # .5 high over half of the sizes and half of the MACs; what reaches a limit covers nothing beside it
    assert found["hypervolume"] == pytest.approx(0.5 * 0.5 * 0.5)
    assert (found["n_front"], found["best_map50_95"], found["its_size_mb"], found["n_within"]) == (2.0, 0.8, 2.0, 2.0)
    assert covered(results[2:], limits)["hypervolume"] == 0
