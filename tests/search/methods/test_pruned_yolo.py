import math

import numpy as np
import pytest

from search.methods.pruned_yolo import coefficient, is_masked, keep_above, mask_threshold, n_layers_to_drop, prune
from tests.search.methods.rounds import Measured, chain_round, chain_space, macs


def test_the_coefficient_falls_as_published() -> None:
    # s (0.8 (1 + cos(pi e / E)) / 2 + 0.2): all of it at first, three fifths in the middle, a fifth at the end
    assert [coefficient(0.1, epoch=epoch, epochs=100) for epoch in (0, 50, 100)] == pytest.approx([0.1, 0.06, 0.02])
    naive = 0.1 * (0.8 * (1 + math.cos(math.pi * 25 / 100)) / 2 + 0.2)
    assert coefficient(0.1, epoch=25, epochs=100) == pytest.approx(naive)


def test_weak_channels_fade_every_second_epoch_from_the_third() -> None:
    assert [epoch for epoch in range(9) if is_masked(epoch)] == [2, 4, 6, 8]
    assert mask_threshold(0.5) == pytest.approx(0.1)  # a fifth of the mean


def test_a_chain_loses_the_mean_of_what_its_layers_would_lose() -> None:
    # the second block: 3 layers of 5 channels, 15 scores, 8 above .5; 7 // 3 = 2 channels go
    chain = np.array([[0.9, 0.9, 0.9, 0.9, 0.1], [0.9, 0.9, 0.1, 0.1, 0.1], [0.9, 0.9, 0.1, 0.1, 0.1]])
    single = np.array([[0.9, 0.1, 0.9, 0.1, 0.9, 0.1]])
    assert keep_above(chain_space(), (single, chain), 0.5).tolist() == [3, 3]


def test_a_layer_that_makes_a_part_of_a_chain_counts_with_that_part() -> None:
    # 8 scores, 4 of them above .5: half of them go, and so do 5 * 4 // 8 = 2 channels
    chain = np.array([[0.9, 0.9, 0.1, 0.1, 0.9], [0.9, 0.1, 0.1, np.nan, np.nan]])
    assert keep_above(chain_space(), (np.ones((1, 6)), chain), 0.5).tolist() == [6, 3]


def test_the_widest_network_of_one_threshold_within_the_limit_is_proposed() -> None:
    measure = Measured(lambda _: {"loss": 1.0})
    scores = (((0.6, 0.5, 0.4, 0.3, 0.2, 0.1),), ((0.65, 0.55, 0.45, 0.35, 0.25),))
    prune(chain_round(measure, scores=scores, limit=macs(np.array([4, 5]))))
    # at .2 four of the first stay and all of the second; at .1 five and all
    assert measure.asked == [(4, 5)]


def test_one_repeat_in_twelve_is_left_out_and_at_least_one() -> None:
    assert [n_layers_to_drop(n) for n in (0, 1, 5, 24, 36)] == [0, 1, 1, 2, 3]
