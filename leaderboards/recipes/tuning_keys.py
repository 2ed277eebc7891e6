"""What the keys of a recipe that are about fine-tuning may be."""

from pydantic import ValidationInfo

from evaluators.runtimes.by_name import DEFAULT, RUNTIMES
from leaderboards.trackers.by_name import TRACKERS


def check_epoch_budget(value: int | None, info: ValidationInfo) -> int | None:
    """Return `value` if it has an epoch for each row of the front.

    Raises:
        ValueError: it has not, or rows are not to be fine-tuned.
    """
    front = info.data.get("front", 1)
    if value is not None and info.data.get("finetune_epochs") == 0:
        raise ValueError("shares out epochs of fine-tuning, which finetune_epochs=0 forbids")
    if value is not None and value < front:
        raise ValueError(f"must have at least one epoch for each of the front={front} rows")
    return value


def check_trackers(value: tuple[str, ...]) -> tuple[str, ...]:
    """Return the trackers of a run, each once.

    Raises:
        ValueError: an unknown one, or one twice.
    """
    if len(set(value)) < len(value) or not set(value) <= set(TRACKERS):
        raise ValueError(f"must be some of {', '.join(TRACKERS)}, each once")
    return value


def check_runtimes(value: tuple[str, ...]) -> tuple[str, ...]:
    """Return the runtimes that rows get files for: each once, the default one among them and first.

    Raises:
        ValueError: an unknown one, one twice, or none.
    """
    if not value or len(set(value)) < len(value) or not set(value) <= set(RUNTIMES):
        raise ValueError(f"must be some of {', '.join(RUNTIMES)}, each once")
    return (DEFAULT, *(name for name in value if name != DEFAULT))
