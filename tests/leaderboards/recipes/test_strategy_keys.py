import pytest

from leaderboards.recipes.strategy_keys import check_keys, default_importance, default_recovery
from search.methods.by_name import METHODS
from spaces.errors import BadInput
from spaces.importance.by_name import Importance
from spaces.recovery.recovery import Recovery


def test_what_was_published_is_the_default_of_a_method_and_of_no_other_strategy() -> None:
    assert default_importance("slimming") is Importance.GAMMA
    assert default_recovery("netadapt") is Recovery.ADAPTIVE_BN
    assert (default_importance("random"), default_recovery(None)) == (Importance.GREEDY, Recovery.RECONSTRUCT)


@pytest.mark.parametrize(
    ("strategy", "importance", "changed", "said"),
    [
        ("random", Importance.GREEDY, {"rounds"}, "rounds is of slimming, pruned_yolo, pagcp, netadapt"),
        ("informed", Importance.GREEDY, {"sparsity"}, "sparsity is of slimming"),
        ("slimming", Importance.GAMMA, {"depth"}, "depth cannot be searched by strategy=slimming"),
        ("pagcp", Importance.L1, {"backbones"}, "backbones cannot be searched"),
        ("netadapt", Importance.L2, {"sparsity"}, "sparsity is of slimming and pruned_yolo"),
        ("pagcp", Importance.GREEDY, set[str](), "importance is a part of strategy=pagcp, l1, got greedy"),
    ],
)
def test_what_does_not_go_together_is_refused(
    strategy: str, importance: Importance, changed: set[str], said: str
) -> None:
    with pytest.raises(BadInput, match=said):
        check_keys(strategy, importance, changed)


def test_every_method_takes_its_own_keys() -> None:
    for strategy, published in METHODS.items():
        check_keys(strategy, published.importance, {"rounds", "round_epochs", "gflops"})
    check_keys("slimming", Importance.GAMMA, {"sparsity"})
