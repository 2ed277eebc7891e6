from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spaces.candidate import Candidate
from spaces.errors import OutOfReach
from spaces.searchable import BaseSpace
from spaces.space import Space
from spaces.union import Union
from tests.contracts import SpaceContract
from tests.spaces.chain import chain_graph
from tests.spaces.untrained import graph_of

GRAPHS = {"same": graph_of(), "same@32": graph_of(imgsz=32), "other": graph_of("yolov8n")}
SPACES = {name: Space(graph, base=name) for name, graph in GRAPHS.items()}
UNION = Union(SPACES)
PARENT_MACS = SPACES["same"].reach()["macs_g"][1]
seeds = st.integers(0, 2**32)
shares = st.floats(0.3, 0.9)


def chain_spaces() -> dict[str, Space]:
    """Return the chain and, as another base, the same at a smaller image, whose reach is nearly the same."""
    graph = chain_graph()
    small = replace(graph, layers=tuple(replace(layer, positions=60) for layer in graph.layers))
    return {"same": Space(graph, align=1), "small": Space(small, base="small", align=1)}


class TestUnion(SpaceContract):
    chains = chain_spaces()

    def make(self) -> Union:
        return Union(self.chains)

    def bases(self) -> Mapping[str, BaseSpace]:
        return self.chains

    def costs(self, candidate: Candidate) -> Mapping[str, float]:
        return self.chains[candidate.base].costs(candidate)

    def reach(self) -> Mapping[str, tuple[float, float]]:
        ends = [space.reach() for space in self.chains.values()]
        return {name: (min(end[name][0] for end in ends), high) for name, (_, high) in ends[0].items()}


def limits(share: float) -> dict[str, float]:
    return {"macs_g": share * PARENT_MACS}


def macs(candidate: Candidate) -> float:
    return SPACES[candidate.base].costs(candidate)["macs_g"]


@given(seeds, shares)
@settings(max_examples=15, deadline=None)
def test_draws_and_children_of_any_base_stay_inside_the_limits(seed: int, share: float) -> None:
    rng = np.random.default_rng(seed)
    first, second = (UNION.sample(rng, limits=limits(0.95)) for _ in range(2))
    children = [
        UNION.mutate(first, rng, limits=limits(share)),
        UNION.cross(first, second, rng, limits=limits(share)),
        UNION.fill(second, rng, limits=limits(share)),
    ]
    assert all(macs(child) <= limits(share)["macs_g"] for child in children)


def test_every_base_is_drawn_from_and_mutants_move_between_them() -> None:
    drawn = {UNION.sample(np.random.default_rng(seed), limits=limits(0.9)).base for seed in range(30)}
    assert drawn == set(SPACES)
    start = UNION.sample(np.random.default_rng(0), limits=limits(0.9))
    moved = [UNION.mutate(start, np.random.default_rng(seed), limits=limits(0.9)).base for seed in range(60)]
    assert 1 <= sum(base != start.base for base in moved) <= 25  # 15 % of 60 is 9


def test_a_base_out_of_reach_is_left_alone_and_none_in_reach_is_an_error() -> None:
    lowest = {name: space.reach()["macs_g"][0] for name, space in SPACES.items()}
    tight = {"macs_g": 1.2 * lowest["same@32"]}
    assert lowest["same"] > tight["macs_g"]
    assert {UNION.sample(np.random.default_rng(seed), limits=tight).base for seed in range(10)} == {"same@32"}
    with pytest.raises(OutOfReach, match="out of reach"):
        UNION.sample(np.random.default_rng(0), limits={"macs_g": lowest["same@32"] / 2})


def test_what_moves_keeps_its_share_of_the_blocks_that_both_have() -> None:
    space, smaller = SPACES["same"], SPACES["same@32"]
    candidate = space.sample(np.random.default_rng(3), limits=limits(0.5))
    adopted = smaller.adopt(space.shares(candidate))
    assert adopted.base == "same@32"
    assert adopted.picks == candidate.picks  # of one network, so of equal names and sizes
    assert SPACES["other"].adopt({}) == SPACES["other"].parent


def test_one_base_alone_draws_as_its_own_space_does() -> None:
    alone = Union({"same": SPACES["same"]})
    for seed in range(5):
        drawn = [space.sample(np.random.default_rng(seed), limits=limits(0.5)) for space in (alone, SPACES["same"])]
        assert drawn[0] == drawn[1]
        bred = [
            space.mutate(drawn[0], np.random.default_rng(seed), limits=limits(0.5)) for space in (alone, SPACES["same"])
        ]
        assert bred[0] == bred[1]


def test_draws_and_mutants_go_to_a_base_as_often_as_it_deserves() -> None:
    union, limits = Union(chain_spaces()), {"macs_g": 0.8 * chain_spaces()["same"].reach()["macs_g"][1]}
    rng = np.random.default_rng(0)
    union.favour({"small": 0.02})
    drawn = [union.sample(rng, limits=limits).base for _ in range(200)]
    assert 0 < drawn.count("small") < 15
    child = union.sample(rng, limits=limits)
    while child.base != "same":
        child = union.sample(rng, limits=limits)
    moved = [union.mutate(child, rng, limits=limits).base for _ in range(200)]
    assert moved.count("small") < 5
    union.favour({"same": 0.02})
    assert [union.mutate(child, rng, limits=limits).base for _ in range(200)].count("small") > 15
