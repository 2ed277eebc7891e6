import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spaces.bits.layer_bits import (
    ACTIVATION_BITS,
    WEIGHT_BITS,
    BitTable,
    LayerBits,
    Protection,
    cross_bits,
    from_picks,
    protect,
    to_picks,
)
from spaces.candidate import Candidate
from spaces.cutting.subnet import choose_channels, slice_tensors
from spaces.errors import BadInput
from spaces.space import Space
from tests.spaces.chain import chain_graph
from tests.spaces.untrained import detector, graph_of, study_without_images

NOTHING = Protection(first=False, last=False, decode=False)
W4A8 = LayerBits(4, 8)
GRAPH = graph_of()
SPACE = Space(GRAPH)
TABLE = BitTable(GRAPH, cross_bits([2, 4, 8], [4, 8]))

all_bits = st.builds(LayerBits, st.sampled_from(WEIGHT_BITS), st.sampled_from(ACTIVATION_BITS))


def test_the_costs_of_a_chain_are_those_counted_by_hand() -> None:
    table = BitTable(chain_graph(), [W4A8], protection=NOTHING)
    # weights 3*6*9, 6*5, 5*4 and biases 6, 5, 4; only the second has bits: 30 weights of half a byte, 5 scales
    costs = table.costs({"second": W4A8})
    assert costs["size_mb"] * 1e6 == pytest.approx(4 * (162 + 20 + 15) + 30 / 2 + 4 * 5)
    # each weight is used at 64 positions: the second's at 4 x 8 bits, the others at 32 x 32
    assert costs["bops_g"] * 1e9 == pytest.approx(64 * (30 * 32 + 182 * 1024))


def test_the_costs_of_a_cut_chain_are_those_of_the_smaller_one() -> None:
    table = BitTable(chain_graph(), [W4A8], protection=NOTHING)
    costs = table.costs({"second": W4A8, "last": W4A8}, keep=np.array([4, 3]))
    # weights 3*4*9, 4*3, 3*4 and biases 4, 3, 4
    assert costs["size_mb"] * 1e6 == pytest.approx(4 * (108 + 11) + 24 / 2 + 4 * (3 + 4))
    assert costs["bops_g"] * 1e9 == pytest.approx(64 * (24 * 32 + 108 * 1024))


def test_without_bits_costs_are_those_of_the_space() -> None:
    keep = np.stack([SPACE.decode(SPACE.parent), SPACE.decode(SPACE.narrowest)])
    bits = np.full((2, len(TABLE.layers), 2), 32)
    found, expected = TABLE.population_costs(bits, keep), SPACE.population_costs(keep)
    np.testing.assert_allclose(found["size_mb"], expected["size_mb"])
    np.testing.assert_allclose(found["bops_g"], 1024 * expected["macs_g"])


def test_the_size_of_a_cut_network_is_that_of_its_own_tensors() -> None:
    model = detector()
    scores, keep = study_without_images(model, GRAPH).scores, SPACE.decode(SPACE.narrowest)
    cut = slice_tensors(model.state_dict(), GRAPH, choose_channels(GRAPH, scores, keep))
    allocation, n_bytes = TABLE.uniform(W4A8), 0.0
    tensors = {name.removeprefix("model.").removesuffix(".weight").removesuffix(".conv"): name for name in cut}
    chosen = {tensors[name]: bits for name, bits in allocation.items()}
    for name, _ in model.named_parameters():
        if name in chosen:
            n_bytes += cut[name].numel() * chosen[name].weight / 8 + 4 * len(cut[name])
        elif name not in GRAPH.scales:
            n_bytes += 4 * cut[name].numel()
    assert TABLE.costs(allocation, keep=keep)["size_mb"] * 1e6 == pytest.approx(n_bytes)


@given(st.integers(0, 2**32))
@settings(max_examples=20, deadline=None)
def test_tables_and_what_is_fixed_add_up_to_the_costs(seed: int) -> None:
    rng = np.random.default_rng(seed)
    keep = SPACE.decode(SPACE.sample(rng, limits={}))
    choice = rng.integers(len(TABLE.options), size=len(TABLE.layers))
    costs, fixed = TABLE.costs(TABLE.allocation(choice), keep=keep), TABLE.fixed(keep)
    for name, table in TABLE.tables(keep).items():
        assert table[np.arange(len(choice)), choice].sum() + fixed[name] == pytest.approx(costs[name])


def test_first_and_last_layers_have_at_least_eight_bits_and_the_decode_none() -> None:
    found = TABLE.uniform(LayerBits(3, 4))
    spared = {name for name, bits in found.items() if bits == LayerBits(8, 8)}
    assert spared == {"0", *(f"24.{kind}.{scale}.2" for kind in ("cv2", "cv3") for scale in range(3))}
    assert "24.dfl" not in found
    assert set(found.values()) == {LayerBits(8, 8), LayerBits(3, 4)}


@pytest.mark.parametrize(
    ("protection", "name"),
    [(Protection(first=False), "0"), (Protection(last=False), "24.cv3.0.2"), (Protection(decode=False), "24.dfl")],
)
def test_each_protection_is_a_switch(protection: Protection, name: str) -> None:
    assert BitTable(GRAPH, [W4A8], protection=protection).uniform(W4A8)[name] == W4A8
    assert TABLE.uniform(W4A8).get(name) != W4A8


def test_more_than_eight_bits_are_left_to_protected_layers() -> None:
    assert TABLE.uniform(LayerBits(16, 16))["0"] == LayerBits(16, 16)


def test_every_detector_has_its_layers_told_apart() -> None:
    graph = graph_of("yolo11n")
    table = BitTable(graph, [W4A8])
    assert len(set(table.layers)) == len(table.layers) == len(graph.layers) - 1  # all but the decode
    assert sum(bits == LayerBits(8, 8) for bits in table.uniform(W4A8).values()) == 7


@given(st.dictionaries(st.sampled_from(TABLE.layers), all_bits))
@settings(max_examples=20, deadline=None)
def test_picks_and_back_are_the_identity_beside_keep_counts(allocation: dict[str, LayerBits]) -> None:
    picks = {**to_picks(allocation), "2.cv1": 8}
    candidate = Candidate("same", tuple(sorted(picks.items())))
    assert from_picks(Candidate.from_json(candidate.to_json()).picks) == allocation


def test_half_of_a_pick_is_refused() -> None:
    with pytest.raises(BadInput, match=r"layer 2\.cv1 must have weight bits and activation bits"):
        from_picks([("2.cv1.weight_bits", 4)])


@pytest.mark.parametrize(
    ("weight", "activation", "told"),
    [
        ([], [8], "weight bits must be one or more of 2, 3, 4, 6, 8, 16, got none"),
        ([8], [], "activation bits must be one or more of 3, 4, 6, 8, 16, got none"),
        ([5], [8], "weight bits must be one of 2, 3, 4, 6, 8, 16, got 5"),
        ([8], [5], "activation bits must be one of 3, 4, 6, 8, 16, got 5"),
    ],
)
def test_bits_outside_the_tables_are_refused(weight: list[int], activation: list[int], told: str) -> None:
    with pytest.raises(BadInput, match=told):
        cross_bits(weight, activation)


def test_no_options_and_unknown_layers_are_refused() -> None:
    with pytest.raises(BadInput, match="at least one option"):
        BitTable(GRAPH, [])
    with pytest.raises(BadInput, match=r"layer '2.cv9' does not exist; there are 0, 1, 2\.cv1, .* did you mean '2.cv"):
        TABLE.encode({"2.cv9": W4A8})
    with pytest.raises(BadInput, match="does not exist"):
        protect({"x": W4A8}, ["model.0.conv.weight"], protection=NOTHING)
