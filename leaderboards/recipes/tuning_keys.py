"""What the keys of a recipe that are about fine-tuning may be."""

from pydantic import ValidationInfo


def check_purse(value: int | None, info: ValidationInfo) -> int | None:
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
