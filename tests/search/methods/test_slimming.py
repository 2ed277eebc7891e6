import numpy as np

from search.methods.slimming import keep_above, slim
from spaces.space import Space
from tests.search.methods.rounds import Measured, chain_round, chain_space, macs
from tests.spaces.chain import chain_graph

SCORES = (
    ((0.9, 0.1, 0.5, 0.3, 0.7, 0.2),),
    # two layers make the second block, the second of them only the first three of its channels
    ((0.8, 0.1, 0.1, 0.6, 0.1), (0.1, 0.1, 0.7, np.nan, np.nan)),
)


def arrays() -> tuple[np.ndarray, ...]:
    return tuple(np.array(block) for block in SCORES)


def test_a_channel_stays_if_any_of_its_layers_wants_it() -> None:
    # above .4: .9, .5, .7 of the first; of the second channels 0 and 3 for its first layer, 2 for the other
    assert keep_above(chain_space(), arrays(), 0.4).tolist() == [3, 3]
    assert keep_above(chain_space(), arrays(), -np.inf).tolist() == [6, 5]
    assert keep_above(chain_space(), arrays(), 0.9).tolist() == [1, 1]  # a block is never empty


def test_counts_are_rounded_up_to_the_alignment() -> None:
    assert keep_above(Space(chain_graph(), align=4), arrays(), 0.4).tolist() == [4, 4]


def test_parts_of_a_block_keep_as_many_as_the_one_that_wants_the_most() -> None:
    scores = (np.array([[0.9, 0.9, 0.9, 0.1, 0.1, 0.1, 0.9, 0.1, 0.1, 0.1, 0.1, 0.1]]), np.ones((1, 5)))
    assert keep_above(chain_space(), scores, 0.5).tolist() == [3, 5]


def test_the_threshold_is_the_lowest_that_meets_the_limit_and_one_for_the_whole_network() -> None:
    # the sorted best scores are .1 x 3, .2, .3, .5, .6, .7 x 2, .8, .9; under the MACs of (4, 3) the lowest that fits
    # is .2: above it are .9, .5, .3, .7 and .8, .7, .6 - at .1 the first block keeps 5
    measure = Measured(lambda _: {"loss": 1.0})
    found = slim(chain_round(measure, scores=SCORES, limit=macs(np.array([4, 3]))))
    assert measure.asked == [(4, 3)]
    assert found[0].readings["macs_g"] == macs(np.array([4, 3])) / 1e9


def test_several_shares_of_the_limit_give_a_front_and_equal_candidates_come_once() -> None:
    measure = Measured(lambda _: {"loss": 1.0})
    found = slim(
        chain_round(measure, scores=SCORES, limit=macs(np.array([4, 3])), shares=(1.0, 0.99, 0.98, 0.51, 0.01))
    )
    # (4, 3) has 132 * 64 MACs, (3, 3), at a threshold of .3, has 102; at .5 (2, 3) has 72, at .6 (2, 2) has 66, of
    # which half of 132 and a little more is the first to have room; one percent is out of reach: the narrowest
    assert [chain_space().decode(result.candidate).tolist() for result in found] == [[4, 3], [3, 3], [2, 2], [1, 1]]
