import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spaces.bits.allocation import allocate, allocate_front
from spaces.bits.prices import Floats, price
from spaces.errors import OutOfReach

seeds = st.integers(0, 2**32)


def tables(seed: int, *shape: int, n_resources: int = 2) -> tuple[Floats, Floats]:
    """Return costs that fall and resources that rise with the option, (n_layers, n_options) and as many as asked."""
    rng = np.random.default_rng(seed)
    costs = np.sort(rng.lognormal(sigma=1.5, size=shape), 1)[:, ::-1]
    resources = np.sort(rng.lognormal(size=(n_resources, *shape)), 2)
    return costs.copy(), resources


def limits(resources: Floats, shares: Floats) -> Floats:
    """Return limits at `shares` of the way from the least to the most, (n_points, n_resources)."""
    low, high = resources.min(2).sum(1), resources.max(2).sum(1)
    return np.asarray(low + shares[:, None] * (high - low))


def least(costs: Floats, resources: Floats, limit: Floats) -> float:
    """Return the least cost of all allocations, tried one by one."""
    rows = np.arange(len(costs))
    best = np.inf
    for choice in itertools.product(range(costs.shape[1]), repeat=len(costs)):
        if (resources[:, rows, list(choice)].sum(1) <= limit).all():
            best = min(best, costs[rows, list(choice)].sum())
    return float(best)


@given(seeds)
@settings(max_examples=5, deadline=None)
def test_the_solver_finds_the_least_of_all_allocations_and_the_front_comes_near(seed: int) -> None:
    costs, resources = tables(seed, 5, 4)
    points = limits(resources, np.array([0.2, 0.5, 0.8]))
    for limit, point in zip(points, allocate_front(costs, resources, points), strict=True):
        expected = least(costs, resources, limit)
        assert allocate(costs, resources, limit).cost == pytest.approx(expected)
        assert point.bound <= expected * (1 + 1e-9)
        assert expected * (1 - 1e-9) <= point.cost <= 1.15 * expected  # of five layers none is a small step


@pytest.mark.parametrize(("seed", "n_resources"), [(0, 1), (1, 2), (2, 3), (3183, 3)])
def test_the_front_is_within_a_thousandth_of_the_exact_solver(seed: int, n_resources: int) -> None:
    costs, resources = tables(seed, 60, 6, n_resources=n_resources)
    points = limits(resources, np.linspace(0.1, 0.9, 5))
    rows = np.arange(60)
    for limit, point in zip(points, allocate_front(costs, resources, points), strict=True):
        assert (resources[:, rows, point.choice].sum(1) <= limit).all()
        assert point.cost == pytest.approx(costs[rows, point.choice].sum())
        exact = allocate(costs, resources, limit, gap=1e-5)
        assert point.bound <= exact.cost * (1 + 1e-6)
        assert point.cost <= exact.cost * 1.001


def test_points_come_in_the_order_of_their_limits() -> None:
    costs, resources = tables(0, 20, 5)
    points = limits(resources, np.array([0.9, 0.1, 0.5]))
    found = [point.cost for point in allocate_front(costs, resources, points)]
    assert found[0] < found[2] < found[1]


def test_a_limit_that_does_not_bind_leaves_the_cheapest_options() -> None:
    costs, resources = tables(1, 20, 5)
    point = allocate_front(costs, resources, 2 * limits(resources, np.ones(1)))[0]
    assert point.cost == pytest.approx(costs.min(1).sum())
    assert point.choice.tolist() == allocate(costs, resources, 2 * limits(resources, np.ones(1))[0]).choice.tolist()


def test_equal_options_are_no_obstacle() -> None:
    costs, resources = tables(2, 20, 3)
    points = limits(resources, np.array([0.3, 0.6]))
    twice = allocate_front(np.tile(costs, 2), np.tile(resources, 2), points)
    for once, again in zip(allocate_front(costs, resources, points), twice, strict=True):
        assert again.cost == pytest.approx(once.cost, rel=1e-3)


def test_the_prices_are_those_of_the_relaxed_problem() -> None:
    # two layers, two options each: cost 1 and 0 for use 0 and .8 of the limit, cost 3 and 0 for the same uses;
    # the dearer layer gets its .8, of the other a quarter of its .8 is left: a price of 1 / .8, a bound of 1 - .25
    costs = np.array([[[1.0, 0], [3, 0]]])
    uses = np.array([[[[0, 0.8], [0, 0.8]]]])
    found = price(costs, uses, np.ones((1, 1)), smooth=1.0)
    assert found.prices[0, 0] == pytest.approx(1.25, abs=1e-4)
    assert found.bounds[0] == pytest.approx(0.75, abs=1e-4)


def test_limits_out_of_reach_are_refused_with_what_is_in_reach() -> None:
    costs, resources = tables(3, 6, 4)
    low = resources.min(2).sum(1)
    for solve in (
        lambda limit: allocate(costs, resources, limit),
        lambda limit: allocate_front(costs, resources, limit[None]),
    ):
        with pytest.raises(OutOfReach, match=r"limit 2 of the bits, .* is out of reach: allocations take"):
            solve(low * np.array([2, 0.9]))


def test_limits_that_exclude_each_other_are_refused() -> None:
    costs = np.ones((3, 2))
    resources = np.array([[[0.0, 1.0]] * 3, [[1.0, 0.0]] * 3])  # the one is least where the other is most
    for solve in (
        lambda limit: allocate(costs, resources, limit),
        lambda limit: allocate_front(costs, resources, limit[None]),
    ):
        with pytest.raises(OutOfReach, match="limits together"):
            solve(np.array([0.5, 0.5]))
