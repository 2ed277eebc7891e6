import pytest

from evaluators.proxies.by_name import FIXED, PROXIES, seconds_of
from leaderboards.recipes.ranking_keys import FidelityKey, read_fidelities
from leaderboards.recipes.reading import read_recipe
from spaces.errors import BadInput
from spaces.recovery.recovery import Recovery


def test_a_ladder_is_read_with_and_without_brackets() -> None:
    for text in ("block_loss:20,loss_one_shot:4", "[block_loss:20, loss_one_shot:4]"):
        fidelities = read_fidelities(read_recipe([f"ladder={text}"]).ladder)
        assert fidelities == (FidelityKey("block_loss", 20), FidelityKey("loss_one_shot", 4))
    assert read_recipe([]).ladder == ()


@pytest.mark.parametrize(
    ("words", "fault"),
    [
        (["ladder=block_loss"], "must be steps of a proxy and how many times"),
        (["ladder=block_loss:0"], "must be steps"),
        (["ladder=block_loss:-3"], "must be steps"),
        (["ladder=block_loss:2.5"], "must be steps"),
        (["ladder=block_loss:1"], "at least 2 times as many"),
        (["ladder=genius:4"], "has no step 'genius'; there are map_vanilla"),
        (["ladder=macs_g:4"], "has no step 'macs_g'"),
        (["ladder=loss:4"], "has no step 'loss'"),
        (["ladder=loss_one_shot:4,block_loss:4"], "loss_one_shot takes about 0.9 s a candidate, block_loss after it"),
        (["ladder=loss_sequential:4", "proxy=loss"], "loss after it 1.8"),
        (["ladder=loss_one_shot:4", "recovery=one_shot", "proxy=loss"], "from cheap to dear"),
        (["ladder=block_loss:4", "proxy=block_loss"], "from cheap to dear"),
        (["ladder=block_loss:40,map_vanilla:40"], "at most 1000 candidates"),
        (["ladder=block_loss:4", "bits=4,8"], "block_loss does not see bits"),
        (["ladder=block_loss:4", "strategy=unstructured"], "chooses among many"),
    ],
)
def test_a_ladder_that_cannot_be_climbed_is_refused(words: list[str], fault: str) -> None:
    with pytest.raises(BadInput, match=fault) as raised:
        read_recipe(words)
    assert "\n" not in str(raised.value)


def test_a_fidelity_with_labels_needs_them_and_one_without_does_not() -> None:
    words = ["proxy=output_distance_sequential", "finetune_epochs=0"]
    assert not read_recipe([*words, "ladder=block_loss:4"]).reads_boxes
    assert read_recipe([*words, "ladder=map_one_shot:4"]).reads_boxes


def test_every_proxy_has_its_seconds_and_a_recovery_those_of_its_map() -> None:
    assert set(FIXED) == set(PROXIES) - {"map50_95", "loss"}
    assert seconds_of("loss", Recovery.ONE_SHOT) == PROXIES["loss_one_shot"].seconds
    assert seconds_of("map50_95", Recovery.NOTHING) == PROXIES["map_vanilla"].seconds
    arithmetic = {name for name, row in PROXIES.items() if not row.builds_network}
    assert {name for name in PROXIES if name.startswith("kept")} | {"block_loss"} == arithmetic
    assert all((PROXIES[name].seconds < 0.01) == (name in arithmetic) for name in PROXIES)
