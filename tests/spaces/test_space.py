from collections.abc import Mapping

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.flop_counter import FlopCounterMode

from spaces.candidate import Candidate
from spaces.cutting.subnet import choose_channels, install, slice_tensors
from spaces.errors import BadInput, OutOfReach
from spaces.importance.from_weights import l1
from spaces.searchable import BaseSpace
from spaces.space import Space
from tests.contracts import SpaceContract
from tests.spaces.chain import chain_graph
from tests.spaces.untrained import detector, graph_of

GRAPH = graph_of()
SPACE = Space(GRAPH)
PARENT_MACS = SPACE.reach()["macs_g"][1]
seeds = st.integers(0, 2**32)
shares = st.floats(0.3, 0.95)


class TestSpace(SpaceContract):
    chain = Space(chain_graph(), align=1)

    def make(self) -> Space:
        return self.chain

    def bases(self) -> Mapping[str, BaseSpace]:
        return {"same": self.chain}

    def costs(self, candidate: Candidate) -> Mapping[str, float]:
        return self.chain.costs(candidate)

    def reach(self) -> Mapping[str, tuple[float, float]]:
        return self.chain.reach()


def limits(share: float) -> dict[str, float]:
    return {"macs_g": share * PARENT_MACS}


@given(seeds, shares)
@settings(max_examples=30, deadline=None)
def test_a_draw_uses_its_budget_to_half_a_percent_and_never_exceeds_it(seed: int, share: float) -> None:
    candidate = SPACE.sample(np.random.default_rng(seed), limits=limits(share))
    use = SPACE.costs(candidate)["macs_g"] / limits(share)["macs_g"]
    assert 0.995 <= use <= 1


@given(seeds, shares)
@settings(max_examples=15, deadline=None)
def test_decoding_and_encoding_is_the_identity(seed: int, share: float) -> None:
    candidate = SPACE.sample(np.random.default_rng(seed), limits=limits(share))
    assert SPACE.encode(SPACE.decode(candidate)) == candidate


@given(seeds, seeds, shares)
@settings(max_examples=15, deadline=None)
def test_breeding_stays_in_the_space_and_the_budget(first: int, second: int, share: float) -> None:
    rng = np.random.default_rng(first)
    a, b = (SPACE.sample(np.random.default_rng(seed), limits=limits(0.95)) for seed in (first, second))
    for child in (SPACE.mutate(a, rng, limits=limits(share)), SPACE.cross(a, b, rng, limits=limits(share))):
        assert SPACE.costs(child)["macs_g"] <= limits(share)["macs_g"]
        assert (SPACE.decode(child) <= SPACE.decode(SPACE.parent)).all()


def test_several_limits_hold_at_once_and_the_tightest_is_used_up() -> None:
    parent = SPACE.costs(SPACE.parent)
    both = {"macs_g": 0.6 * parent["macs_g"], "params_m": 0.3 * parent["params_m"]}
    for seed in range(10):
        costs = SPACE.costs(SPACE.sample(np.random.default_rng(seed), limits=both))
        uses = [costs[name] / limit for name, limit in both.items()]
        assert max(uses) <= 1
        assert max(uses) >= 0.995


def test_costs_equal_the_counted_macs_and_parameters_of_the_cut_network() -> None:
    model = detector()
    for seed in range(5):
        candidate = SPACE.sample(np.random.default_rng(seed), limits=limits(0.3 + 0.12 * seed))
        chosen = choose_channels(GRAPH, l1(model.state_dict(), GRAPH), SPACE.decode(candidate))
        subnet = install(model, slice_tensors(model.state_dict(), GRAPH, chosen))
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            subnet(torch.zeros(1, 3, 64, 64))
        costs = SPACE.costs(candidate)
        assert round(costs["macs_g"] * 1e9) * 2 == counter.get_total_flops()
        assert round(costs["params_m"] * 1e6) == sum(parameter.numel() for parameter in subnet.parameters())


def test_the_parent_costs_what_ultralytics_counts_within_three_percent() -> None:
    from ultralytics.utils.torch_utils import get_flops

    assert 2 * SPACE.costs(SPACE.parent)["macs_g"] == pytest.approx(get_flops(detector(), imgsz=64), rel=0.03)


def test_a_population_costs_what_its_members_cost() -> None:
    candidates = [SPACE.sample(np.random.default_rng(seed), limits=limits(0.5)) for seed in range(4)]
    together = SPACE.population_costs(np.stack([SPACE.decode(candidate) for candidate in candidates]))
    for index, candidate in enumerate(candidates):
        assert {name: values[index] for name, values in together.items()} == pytest.approx(SPACE.costs(candidate))


def test_keep_counts_are_aligned_and_not_below_the_least() -> None:
    for gene in SPACE.genes:
        assert all(option % 8 == 0 or option == gene.size for option in gene.options)
        assert gene.options[0] >= 0.2 * gene.size
        assert gene.options[-1] == gene.size


def test_a_budget_below_the_smallest_subnetwork_is_out_of_reach() -> None:
    with pytest.raises(OutOfReach, match="this space goes from"):
        SPACE.sample(np.random.default_rng(0), limits=limits(0.01))


def test_without_limits_draws_still_differ() -> None:
    assert len({SPACE.sample(np.random.default_rng(seed), limits={}).id for seed in range(8)}) == 8


@pytest.mark.parametrize("picks", [(("no such layer", 8),), (("1", 3),)])
def test_a_candidate_of_another_space_is_refused(picks: tuple[tuple[str, int], ...]) -> None:
    with pytest.raises(BadInput):
        SPACE.decode(Candidate("same", picks))
