import itertools
from collections.abc import Mapping

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from spaces.candidate import Candidate
from spaces.errors import OutOfReach
from spaces.informed_space import InformedSpace
from spaces.searchable import BaseSpace
from spaces.space import Space
from tests.contracts import SpaceContract
from tests.spaces.chain import chain_graph
from tests.spaces.untrained import graph_of

GRAPH = graph_of()
SPACE = Space(GRAPH)
PARENT_MACS = SPACE.reach()["macs_g"][1]
SQUARES = [np.linspace(0, 1, gene.size + 1) ** 2 * (1 + index % 7) for index, gene in enumerate(SPACE.genes)]
INFORMED = InformedSpace(SPACE, SQUARES)
seeds = st.integers(0, 2**32)
shares = st.floats(0.3, 0.95)


class TestInformedSpace(SpaceContract):
    chain = Space(chain_graph(), align=1)

    def make(self) -> InformedSpace:
        return InformedSpace(self.chain, losses(1.0, 2.0))

    def bases(self) -> Mapping[str, BaseSpace]:
        return {"same": self.make()}

    def costs(self, candidate: Candidate) -> Mapping[str, float]:
        return self.chain.costs(candidate)

    def reach(self) -> Mapping[str, tuple[float, float]]:
        return self.chain.reach()


def limits(share: float) -> dict[str, float]:
    return {"macs_g": share * PARENT_MACS}


@given(seeds, seeds, shares)
@settings(max_examples=15, deadline=None)
def test_draws_and_children_stay_in_the_space_and_the_budget(first: int, second: int, share: float) -> None:
    rng = np.random.default_rng(first)
    a, b = (INFORMED.sample(np.random.default_rng(seed), limits=limits(0.95)) for seed in (first, second))
    inside = limits(share)
    for child in (
        INFORMED.sample(rng, limits=inside),
        INFORMED.mutate(a, rng, limits=inside),
        INFORMED.cross(a, b, rng, limits=inside),
        INFORMED.fill(SPACE.sample(rng, limits=limits(share * 0.9)), rng, limits=inside),
    ):
        assert SPACE.costs(child)["macs_g"] <= inside["macs_g"]
        SPACE.decode(child)  # raises if a pick is not of the space


@given(seeds, shares)
@settings(max_examples=15, deadline=None)
def test_a_draw_leaves_no_block_that_could_still_be_widened(seed: int, share: float) -> None:
    keep = SPACE.decode(INFORMED.sample(np.random.default_rng(seed), limits=limits(share)))
    for index, gene in enumerate(SPACE.genes):
        if keep[index] < gene.size:
            wider = keep.copy()
            wider[index] = gene.options[gene.options.index(int(keep[index])) + 1]
            assert SPACE.costs(SPACE.encode(wider))["macs_g"] > limits(share)["macs_g"]


def test_without_noise_it_loses_less_than_any_of_many_random_draws() -> None:
    best = INFORMED.sample(np.random.default_rng(0), limits=limits(0.5), diversity=0)
    drawn = [SPACE.sample(np.random.default_rng(seed), limits=limits(0.5)) for seed in range(50)]
    assert INFORMED.loss(best) < min(INFORMED.loss(candidate) for candidate in drawn)


def losses(*steepness: float) -> list[NDArray[np.float64]]:
    """Return convex losses of the chain's two blocks, of 6 and 5 channels."""
    return [each * np.arange(size + 1.0) ** 2 for each, size in zip(steepness, (6, 5), strict=True)]


@pytest.mark.parametrize("steepness", [(1.0, 1.0), (1.0, 20.0), (20.0, 1.0)])
@pytest.mark.parametrize("share", [0.3, 0.5, 0.7, 0.9])
def test_it_finds_nearly_the_least_loss_of_all_widths(steepness: tuple[float, float], share: float) -> None:
    space = Space(chain_graph(), align=1)
    informed = InformedSpace(space, losses(*steepness))
    budget = {"macs_g": share * space.reach()["macs_g"][1]}
    everything = [space.encode(np.array(keep)) for keep in itertools.product(*(gene.options for gene in space.genes))]
    inside = [candidate for candidate in everything if space.costs(candidate)["macs_g"] <= budget["macs_g"]]
    least = min(informed.loss(candidate) for candidate in inside)
    found = informed.loss(informed.sample(np.random.default_rng(0), limits=budget, diversity=0))
    # steps are whole channels of two blocks, so the greedy end may be one channel of the steeper block off
    assert found <= least + 2 * max(steepness) * 6


def test_a_block_that_loses_nothing_goes_first() -> None:
    space = Space(chain_graph(), align=1)
    informed = InformedSpace(space, losses(0.0, 1.0))
    free, dear = space.decode(
        informed.sample(np.random.default_rng(0), limits={"macs_g": 0.6 * space.reach()["macs_g"][1]})
    )
    assert free < 6
    assert dear == 5


def test_a_budget_out_of_reach_is_refused() -> None:
    with pytest.raises(OutOfReach, match="out of reach"):
        INFORMED.sample(np.random.default_rng(0), limits={"macs_g": 1e-9})
