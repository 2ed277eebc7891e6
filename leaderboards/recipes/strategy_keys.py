"""What the key `strategy` may be, and which other keys its methods leave no room for."""

from collections.abc import Collection

from search.methods.by_name import METHODS
from search.strategies.by_name import STRATEGIES
from spaces.cutting.mask import Granularity, Mask
from spaces.errors import BadInput
from spaces.importance.by_name import Importance
from spaces.recovery.recovery import Recovery

NAMES = (*STRATEGIES, *METHODS)
USUAL_PERCENT = 30  # of the weights of each layer, in the guide
TWO_OF_FOUR, TWO_OF_FOUR_PERCENT = 24, 50
OWN_KEYS = ("rounds", "round_epochs", "sparsity")
UNUSED_KEYS = ("backbones", "depth", "image_sizes", "bits", "ladder")


def check_strategy(value: str, /) -> str:
    """Return the name of a strategy or a method."""
    if value not in NAMES:
        raise ValueError(f"must be one of {', '.join(NAMES)}")
    return value


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


def mask_of_keys(granularity: Granularity, percent: int | None, /) -> Mask:
    """Return what strategy=unstructured sets to zero.

    Raises:
        BadInput: a share that 2:4 does not have.
    """
    if granularity is not Granularity.N_M:
        return Mask(granularity, USUAL_PERCENT if percent is None else percent)
    if percent not in (None, TWO_OF_FOUR_PERCENT):
        raise BadInput(f"sparsity_percent: 2:4 is {TWO_OF_FOUR_PERCENT} percent with granularity=n_m, got {percent}")
    return Mask(Granularity.N_M, TWO_OF_FOUR)
