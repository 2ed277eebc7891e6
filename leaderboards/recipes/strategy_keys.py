"""The methods that train as they cut: what their authors published, and which keys they leave no room for."""

from collections.abc import Collection, Mapping
from typing import Literal, NamedTuple

from spaces.errors import BadInput
from spaces.importance.by_name import Importance
from spaces.recovery.recovery import Recovery


class Published(NamedTuple):
    """What a method does where the user does not say otherwise.

    Attributes:
        importance: what orders the channels of a block; a part of the method, so not to be chosen.
        rounds: of training and cutting.
        trains_first: whether the user's own network is trained before the first cut.
        sparsity: the coefficient of the absolute BatchNorm scales in that training's loss, 0 for none.
        is_eased: whether that coefficient falls and weak channels fade on the way.
    """

    importance: Importance
    recovery: Recovery
    rounds: int
    trains_first: bool = False
    sparsity: float = 0.0
    is_eased: bool = False


METHODS: Mapping[str, Published] = {
    "slimming": Published(Importance.GAMMA, Recovery.NOTHING, 1, trains_first=True, sparsity=1e-3),
    "pruned_yolo": Published(
        Importance.KERNEL_GAMMA, Recovery.NOTHING, 2, trains_first=True, sparsity=1e-3, is_eased=True
    ),
    "pagcp": Published(Importance.L1, Recovery.NOTHING, 1),
    "netadapt": Published(Importance.L2, Recovery.ADAPTIVE_BN, 3),  # stands for the short training of each proposal
}
StrategyName = Literal[
    "informed", "evolution", "tpe", "random", "uniform", "unstructured", "slimming", "pruned_yolo", "pagcp", "netadapt"
]
OWN_KEYS = ("rounds", "round_epochs", "sparsity")
UNUSED_KEYS = ("backbones", "depth", "image_sizes", "bits", "ladder")


def default_importance(strategy: object, /) -> Importance:
    """Return what orders channels in a run of `strategy` unless the user says otherwise."""
    return METHODS[str(strategy)].importance if strategy in METHODS else Importance.GREEDY


def default_recovery(strategy: object, /) -> Recovery:
    """Return what is done to the cut networks of a run of `strategy` unless the user says otherwise."""
    return METHODS[str(strategy)].recovery if strategy in METHODS else Recovery.RECONSTRUCT


def check_keys(strategy: str, importance: Importance, changed: Collection[str], /) -> None:
    """Make sure that a recipe asks `strategy` for nothing that it does not do.

    Args:
        changed: the keys whose value is not their default.

    Raises:
        BadInput: a key of methods without a method, or one that a method leaves no room for.
    """
    own = next((key for key in OWN_KEYS if key in changed), None)
    if strategy not in METHODS:
        if own:
            raise BadInput(f"{own} is of {', '.join(METHODS)}; strategy={strategy} trains nothing but the rows")
        return
    if odd := next((key for key in UNUSED_KEYS if key in changed), None):
        raise BadInput(f"{odd} cannot be searched by strategy={strategy}, which cuts the channels of one network")
    if "sparsity" in changed and not METHODS[strategy].sparsity:
        raise BadInput(f"sparsity is of slimming and pruned_yolo; strategy={strategy} trains for none")
    if importance is not METHODS[strategy].importance:
        own_importance = METHODS[strategy].importance.value
        raise BadInput(f"importance is a part of strategy={strategy}, {own_importance}, got {importance.value}")
