import itertools
from collections.abc import Mapping

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spaces.bits.bit_space import BitSpace
from spaces.bits.layer_bits import BitTable, LayerBits, Protection, cross_bits, from_picks, to_picks
from spaces.candidate import Candidate
from spaces.errors import BadInput, OutOfReach
from spaces.informed_space import InformedSpace
from spaces.searchable import BaseSpace
from spaces.space import Space
from spaces.union import Union
from tests.contracts import SpaceContract
from tests.spaces.chain import chain_graph
from tests.spaces.untrained import graph_of

GRAPH = graph_of()
SPACE = Space(GRAPH, size_overhead=20_000)
TABLE = BitTable(GRAPH, cross_bits([2, 4, 8], [4, 8]), size_overhead=20_000)
SQUARES = [np.linspace(0, 1, gene.size + 1) ** 2 * (1 + index % 7) for index, gene in enumerate(SPACE.genes)]
LAYERS = np.random.default_rng(0).lognormal(0, 2, (len(TABLE.layers), 1))
SENSITIVITY = LAYERS * (4.0 ** -TABLE.bits[..., 0] + 4.0 ** -TABLE.bits[..., 1])
INFORMED = BitSpace(SPACE, InformedSpace(SPACE, SQUARES), TABLE, sensitivity=SENSITIVITY)
BLIND = BitSpace(SPACE, SPACE, TABLE)
WHOLE = BLIND.costs(SPACE.parent)
NONE = Protection(first=False, last=False, decode=False)

seeds = st.integers(0, 2**32)
spaces = st.sampled_from([INFORMED, BLIND])
budgets = st.fixed_dictionaries(
    {},
    optional={
        "size_mb": st.floats(0.03, 0.3),
        "bops_g": st.floats(0.01, 0.08),
        "macs_g": st.floats(0.3, 0.95),
        "params_m": st.floats(0.3, 0.95),
    },
)


class TestBitSpace(SpaceContract):
    limited = ("macs_g", "params_m", "size_mb", "bops_g")
    widths = Space(chain_graph(), align=1)
    table = BitTable(chain_graph(), cross_bits([2, 4, 8], [4, 8]), protection=NONE)

    def make(self) -> BitSpace:
        return BitSpace(self.widths, self.widths, self.table)

    def bases(self) -> Mapping[str, BaseSpace]:
        return {"same": self.make()}

    def costs(self, candidate: Candidate) -> Mapping[str, float]:
        return self.make().costs(candidate)

    def reach(self) -> Mapping[str, tuple[float, float]]:
        return self.make().reach()


class TestInformedBitSpace(TestBitSpace):
    def make(self) -> BitSpace:
        squares = [np.arange(gene.size + 1.0) ** 2 for gene in self.widths.genes]
        sensitivity = np.power(4.0, -self.table.bits).sum(2) * [[4.0], [2.0], [1.0]]
        return BitSpace(self.widths, InformedSpace(self.widths, squares), self.table, sensitivity=sensitivity)


def limits(shares: Mapping[str, float]) -> dict[str, float]:
    return {name: share * WHOLE[name] for name, share in shares.items()}


def use(candidate: Candidate, within: Mapping[str, float]) -> float:
    return max((BLIND.costs(candidate)[name] / limit for name, limit in within.items()), default=0.0)


@given(seeds, spaces, budgets)
@settings(max_examples=15, deadline=None)
def test_draws_and_children_are_inside_the_limits_and_decode_to_themselves(
    seed: int, space: BitSpace, shares: dict[str, float]
) -> None:
    rng, within = np.random.default_rng(seed), limits(shares)
    loose = {name: 1.4 * limit for name, limit in within.items()}
    first, second = (space.sample(rng, limits=loose, diversity=float(rng.random())) for _ in range(2))
    for child in (
        space.sample(rng, limits=within, diversity=float(rng.random())),
        space.mutate(first, rng, limits=within),
        space.cross(first, second, rng, limits=within),
        space.fill(second, rng, limits=within),
    ):
        assert use(child, within) <= 1
        assert space.encode(*space.decode(child)) == child
        assert set(from_picks(child.picks)) == set(TABLE.layers)


@given(seeds, spaces, st.sampled_from(["size_mb", "bops_g"]), st.floats(0.05, 0.2))
@settings(max_examples=10, deadline=None)
def test_what_is_drawn_or_filled_uses_up_its_tightest_limit(
    seed: int, space: BitSpace, name: str, share: float
) -> None:
    rng = np.random.default_rng(seed)
    within = limits({name: share if name == "size_mb" else share / 4, "macs_g": 0.6})
    leaner = space.sample(rng, limits={key: 0.8 * limit for key, limit in within.items()})
    for candidate in (space.sample(rng, limits=within), space.fill(leaner, rng, limits=within)):
        assert use(candidate, within) >= 0.99 or not has_room(candidate, within)


def has_room(candidate: Candidate, within: Mapping[str, float]) -> bool:
    """Return whether some layer of `candidate` could have other bits that take more and are still within the limits."""
    keep, choice = BLIND.decode(candidate)
    used = use(candidate, within)
    for layer, option in itertools.product(range(len(choice)), range(len(TABLE.options))):
        tried = choice.copy()
        tried[layer] = option
        if used < use(BLIND.encode(keep, tried), within) <= 1:
            return True
    return False


@pytest.mark.parametrize("space", [INFORMED, BLIND])
def test_a_size_is_met_by_bits_by_widths_and_by_both(space: BitSpace) -> None:
    drawn = [space.sample(np.random.default_rng(seed), limits=limits({"size_mb": 0.12})) for seed in range(30)]
    macs = [space.costs(candidate)["macs_g"] / WHOLE["macs_g"] for candidate in drawn]
    bits = [np.mean([each.weight for each in from_picks(candidate.picks).values()]) for candidate in drawn]
    assert min(macs) < 0.7
    assert max(macs) > 0.85
    assert np.corrcoef(macs, bits)[0, 1] < -0.5  # the wider, the fewer bits


@pytest.mark.parametrize("space", [INFORMED, BLIND])
def test_without_a_limit_on_bits_draws_span_them(space: BitSpace) -> None:
    drawn = [space.sample(np.random.default_rng(seed), limits=limits({"macs_g": 0.5})) for seed in range(20)]
    sizes = [space.costs(candidate)["size_mb"] for candidate in drawn]
    assert max(sizes) > 1.8 * min(sizes)


def test_bits_go_where_they_are_known_to_count() -> None:
    within = limits({"size_mb": 0.12})
    informed = [INFORMED.sample(np.random.default_rng(seed), limits=within, diversity=0) for seed in range(5)]
    for candidate in informed:
        keep, _ = INFORMED.decode(candidate)
        for option in TABLE.options:
            even = INFORMED.encode(keep, np.full(len(TABLE.layers), TABLE.options.index(option)))
            if use(even, within) <= 1:
                assert INFORMED.loss(candidate) < INFORMED.loss(even)


def test_children_mix_the_bits_of_their_parents_by_layer() -> None:
    rng = np.random.default_rng(1)
    keep, _ = BLIND.decode(BLIND.leanest)
    few, many = (BLIND.encode(keep, np.full(len(TABLE.layers), option)) for option in (0, len(TABLE.options) - 1))
    _, mixed = BLIND.decode(BLIND.cross(few, many, rng, limits={}))
    n_many = int((TABLE.bits[np.arange(len(mixed)), mixed] == TABLE.bits[:, -1]).all(1).sum())
    assert 0.3 * len(mixed) < n_many < len(mixed)


def test_costs_are_counted_by_hand() -> None:
    space = Space(chain_graph(), align=1)
    bits = BitSpace(space, space, BitTable(chain_graph(), [LayerBits(4, 8)], protection=NONE))
    candidate = bits.encode(np.array([4, 3]), np.zeros(3, int))
    everywhere = dict.fromkeys(["first", "second", "last"], LayerBits(4, 8))
    assert dict(candidate.picks) == {"first": 4, "second": 3, **to_picks(everywhere)}
    # weights 3*4*9, 4*3, 3*4 of half a byte, biases and scales 4 bytes each for 4 + 3 + 4 channels, at 64 positions
    found = bits.costs(candidate)
    assert found["size_mb"] * 1e6 == pytest.approx(132 / 2 + 8 * 11)
    assert found["bops_g"] * 1e9 == pytest.approx(64 * 132 * 32)
    assert found["macs_g"] * 1e9 == pytest.approx(64 * 132)
    assert bits.log10_size() == space.log10_size()  # one option is no choice


def test_the_reach_is_from_the_leanest_to_the_float_parent() -> None:
    reach = BLIND.reach()
    assert {name: high for name, (_, high) in reach.items()} == WHOLE
    assert BLIND.costs(BLIND.leanest) == {name: low for name, (low, _) in reach.items()}
    assert WHOLE["size_mb"] == pytest.approx(SPACE.costs(SPACE.parent)["size_mb"])
    tight = {name: low for name, (low, _) in reach.items()}
    assert use(BLIND.sample(np.random.default_rng(0), limits=tight), tight) == 1
    for name, low in tight.items():
        with pytest.raises(OutOfReach, match=f"{name} .* is out of reach: this space goes from"):
            BLIND.sample(np.random.default_rng(0), limits={name: 0.99 * low})


def test_where_nothing_can_be_cut_bits_alone_are_bred() -> None:
    rigid = Space(GRAPH, keep_min=1.0)
    space = BitSpace(rigid, InformedSpace(rigid, SQUARES), TABLE, sensitivity=SENSITIVITY)
    rng, within = np.random.default_rng(0), limits({"size_mb": 0.15})
    first, second = (space.sample(rng, limits=within, diversity=0.5) for _ in range(2))
    mutant = space.mutate(first, rng, limits=within)
    assert mutant != first
    for child in (first, mutant, space.cross(first, second, rng, limits=within), space.fill(first, rng, limits=within)):
        assert child.widths == ()
        assert 0.98 < use(child, within) <= 1 or child is not first


def test_draws_follow_the_seed() -> None:
    for space in (INFORMED, BLIND):
        one, same, other = (
            space.sample(np.random.default_rng(seed), limits=limits({"size_mb": 0.1})) for seed in (0, 0, 1)
        )
        assert one == same != other


def test_candidates_move_between_bases_and_get_bits_there() -> None:
    others = {"same": SPACE, "small": Space(graph_of(imgsz=32), base="small")}
    both = {name: BitSpace(space, space, TABLE) for name, space in others.items()}
    union, rng, within = Union(both), np.random.default_rng(0), limits({"size_mb": 0.1})
    assert SPACE.reach()["size_mb"][0] > BLIND.reach()["size_mb"][0]
    drawn = [union.sample(rng, limits=within) for _ in range(8)]
    moved = [union.mutate(candidate, rng, limits=within) for candidate in drawn for _ in range(6)]
    assert {candidate.base for candidate in moved} == {"same", "small"}
    for child in (*moved, union.cross(drawn[0], next(c for c in drawn if c.base != drawn[0].base), rng, limits=within)):
        assert set(from_picks(child.picks)) == set(TABLE.layers)
        assert both[child.base].costs(child)["size_mb"] <= within["size_mb"]


def test_bits_that_are_no_option_are_refused() -> None:
    odd = Candidate("same", tuple(sorted(to_picks({"2.cv1": LayerBits(6, 8)}).items())))
    with pytest.raises(BadInput, match=r"gives layer 2\.cv1 bits that are not among the options"):
        BLIND.decode(odd)
