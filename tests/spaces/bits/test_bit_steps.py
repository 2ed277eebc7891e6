import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spaces.bits.bit_steps import Bids, narrowed, priced, widened
from spaces.bits.layer_bits import Choice

seeds = st.integers(0, 2**32)
NONE = np.zeros(5, bool)


def bids(seed: int, *, n_limits: int = 2, room: float = 0.6) -> Bids:
    """Return bids of five layers whose four options cost the less the more they use, limits at `room` of the most."""
    rng = np.random.default_rng(seed)
    costs = np.sort(rng.random((5, 4)), 1)[:, ::-1]
    uses = np.sort(rng.random((n_limits, 5, 4)), 2)
    return Bids(costs, uses / (room * uses.max(2).sum(1))[:, None, None])


def cost(offered: Bids, choice: Choice) -> float:
    return float(offered.costs[np.arange(5), choice].sum())


EVERY = [np.array(each) for each in itertools.product(range(4), repeat=5)]


def test_the_use_is_that_of_the_tightest_limit_and_nothing_without_one() -> None:
    offered = bids(0)
    choice = np.array([0, 1, 2, 3, 0])
    by_hand = [sum(offered.uses[r, layer, option] for layer, option in enumerate(choice)) for r in range(2)]
    assert offered.use(choice) == pytest.approx(max(by_hand))
    assert offered.least_use() == pytest.approx(offered.use(np.zeros(5, int)))
    assert Bids(offered.costs, np.zeros((0, 5, 4))).use(choice) == 0


@given(seeds, st.integers(1, 2), st.floats(0.4, 1.0))
@settings(max_examples=30, deadline=None)
def test_one_price_and_steps_from_it_come_close_to_the_best_of_all_choices(
    seed: int, n_limits: int, room: float
) -> None:
    offered = bids(seed, n_limits=n_limits, room=room)
    inside = [choice for choice in EVERY if offered.use(choice) <= 1]
    if not inside:
        return
    least = min(cost(offered, choice) for choice in inside)
    found = widened(offered, priced(offered), NONE)
    assert offered.use(found) <= 1
    # five layers cannot all be on the hull: the last step may be one layer's whole range off
    assert least <= cost(offered, found) <= least + float(np.ptp(offered.costs, axis=1).max()) + 1e-9


@given(seeds, st.integers(1, 3), st.booleans())
@settings(max_examples=30, deadline=None)
def test_steps_bring_any_choice_inside_and_leave_nothing_to_win(seed: int, n_limits: int, is_random: bool) -> None:
    offered, rng = bids(seed, n_limits=n_limits), np.random.default_rng(seed)
    order = rng if is_random else None
    choice = narrowed(offered, rng.integers(4, size=5), NONE, rng=order)
    assert offered.use(choice) <= 1 or offered.least_use() > 1
    if offered.use(choice) <= 1:
        full = widened(offered, choice, NONE, rng=order)
        assert offered.use(full) <= 1
        assert cost(offered, full) <= cost(offered, choice)
        for layer, option in itertools.product(range(5), range(4)):
            moved = full.copy()
            moved[layer] = option
            assert offered.use(moved) > 1 or cost(offered, moved) >= cost(offered, full)


def test_fixed_layers_stay() -> None:
    offered, start = bids(3, room=0.5), np.array([3, 3, 3, 3, 3])
    fixed = np.array([True, False, False, True, False])
    for found in (narrowed(offered, start, fixed), widened(offered, np.zeros(5, int), fixed)):
        assert (found[fixed] == (3 if found[0] else 0)).all()


def test_without_pressure_each_layer_has_its_cheapest_option() -> None:
    loose = bids(1, room=10.0)
    assert (priced(loose) == 3).all()


def test_a_limit_that_a_step_would_meet_to_the_last_bit_is_not_exceeded_by_rounding() -> None:
    uses = np.array([[[0.1, 0.2], [0.1, 0.7], [0.1, 0.1]]])  # .2 + .7 + .1 added in this order is 1 + 2e-16 or 1
    offered = Bids(np.array([[1.0, 0.0], [1.0, 0.0], [1.0, 0.0]]), uses)
    assert offered.use(widened(offered, np.zeros(3, np.int64), np.zeros(3, bool))) <= 1
