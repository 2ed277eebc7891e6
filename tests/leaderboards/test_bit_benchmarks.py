import numpy as np
import pytest

from leaderboards.benchmarks import run
from leaderboards.benchmarks.bit_sensitivity import draw_choices
from spaces.bits import BitTable, cross_bits
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
        ("integer n=0", "n must be a number from 1"),
        ("integer data=nonsense", "data='nonsense' must be digits"),
        ("bit_sensitivity data=nonsense", "data='nonsense' must be digits"),
    ],
)
def test_what_cannot_be_asked_is_refused(words: str, told: str) -> None:
    with pytest.raises(BadInput, match=told):
        run(words.split())
