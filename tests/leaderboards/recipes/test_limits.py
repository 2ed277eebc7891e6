import pytest
from hypothesis import given
from hypothesis import strategies as st

from leaderboards.recipes.keys import LIMITS
from leaderboards.recipes.limits import check_reach, reach_of, resolve, share_of_work
from spaces.bits.bit_space import BitSpace
from spaces.bits.layer_bits import BitTable, cross_bits
from spaces.errors import OutOfReach
from spaces.space import Space
from tests.spaces.chain import chain_graph

PARENT_COSTS = {"macs_g": 4.0, "params_m": 3.0, "size_mb": 12.0, "bops_g": 4096.0, "latency_ms": 20.0}
SPACE = Space(chain_graph(), align=1)
WITH_BITS = BitSpace(SPACE, SPACE, BitTable(chain_graph(), cross_bits([2, 8], [8])))
amounts = st.tuples(st.floats(0.01, 200).map(lambda value: round(value, 2)), st.sampled_from(["", "%"]))


@given(amounts, amounts)
def test_of_two_limits_on_the_macs_the_tighter_holds(gflops: tuple[float, str], macs: tuple[float, str]) -> None:
    asked = {"gflops": f"{gflops[0]}{gflops[1]}", "macs_g": f"{macs[0]}{macs[1]}"}
    as_macs = PARENT_COSTS["macs_g"] * gflops[0] / 100 if gflops[1] else gflops[0] / 2  # a MAC is two FLOPs
    limit = PARENT_COSTS["macs_g"] * macs[0] / 100 if macs[1] else macs[0]
    assert resolve(asked, PARENT_COSTS, has_bits=False) == pytest.approx({"macs_g": min(as_macs, limit)})


@pytest.mark.parametrize("key", [key for key in LIMITS if key != "gflops"])
def test_every_limit_is_an_amount_or_a_share_of_the_parent(key: str) -> None:
    assert resolve({key: "1.5"}, PARENT_COSTS, has_bits=True) == {key: 1.5}
    assert resolve({key: "25%"}, PARENT_COSTS, has_bits=True) == {key: PARENT_COSTS[key] / 4}


def test_without_limits_there_are_none() -> None:
    assert resolve({}, PARENT_COSTS, has_bits=False) == {}


def test_without_bits_a_limit_on_bops_is_one_on_macs_of_32_by_32_bits() -> None:
    assert resolve({"bops_g": "2048"}, PARENT_COSTS, has_bits=False) == {"macs_g": 2.0}
    both = {"bops_g": "30%", "macs_g": "40%"}
    assert resolve(both, PARENT_COSTS, has_bits=False) == pytest.approx({"macs_g": 1.2})


def test_bits_widen_the_reach_of_size_and_leave_the_parent_in_float() -> None:
    whole, narrow = reach_of([SPACE]), reach_of([WITH_BITS])
    assert narrow["macs_g"] == whole["macs_g"]
    assert narrow["size_mb"][1] == pytest.approx(whole["size_mb"][1])
    assert narrow["size_mb"][0] < whole["size_mb"][0]
    assert narrow["bops_g"][1] == pytest.approx(1024 * whole["macs_g"][1])


def test_a_limit_is_out_of_reach_only_if_no_bits_are_few_enough() -> None:
    half = SPACE.reach()["size_mb"][0] / 2
    check_reach({"size_mb": f"{half}"}, [WITH_BITS], keys=["size_mb", "bops_g"], has_bits=True)
    with pytest.raises(OutOfReach, match=r"^size_mb=.* is out of reach: it goes from .* of the parent\) to "):
        check_reach({"size_mb": f"{half}"}, [SPACE], keys=["size_mb"], has_bits=False)
    with pytest.raises(OutOfReach, match=r"^bops_g=1e-9 is out of reach"):
        check_reach({"bops_g": "1e-9"}, [WITH_BITS], keys=["bops_g"], has_bits=True)


def test_the_interval_is_told_in_the_unit_of_the_key() -> None:
    low, high = SPACE.reach()["macs_g"]
    with pytest.raises(OutOfReach, match=rf"bops_g=1e-9 .* from {1024 * low:.4g} \(.*\) to {1024 * high:.4g}"):
        check_reach({"bops_g": "1e-9"}, [SPACE], keys=["bops_g"], has_bits=False)


@pytest.mark.parametrize(
    ("amounts", "share"),
    [
        ({"gflops": "60%"}, 0.6),
        ({"macs_g": "0.5", "params_m": "10%"}, 0.25),
        ({"latency_ms": "40%", "gflops": "60%"}, 0.4),
        ({"latency_ms": "7"}, 0.25),
        ({"gflops": "10"}, 1.0),
        ({"size_mb": "20%"}, 1.0),
    ],
)
def test_the_share_of_work_is_that_of_the_tightest_limit_on_it(amounts: dict[str, str], share: float) -> None:
    for latency in (10.0, 11.0):  # as it is measured, and measured anew
        costs = {"macs_g": 2.0, "params_m": 3.0, "size_mb": 12.0, "latency_ms": latency}
        assert share_of_work(amounts, costs, has_bits=False) == pytest.approx(share)
