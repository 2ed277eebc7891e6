"""What of each layer is set to zero, as a pick of a candidate; `spaces.cutting.masks` does it."""

from dataclasses import dataclass
from enum import StrEnum

from spaces.candidate import MASK_PREFIX, Candidate
from spaces.errors import BadInput

N_M = (14, 24, 34)


class Granularity(StrEnum):
    """What is set to zero as one."""

    WEIGHT = "weight"
    KERNEL = "kernel"
    FILTER = "filter"
    N_M = "n_m"


@dataclass(frozen=True)
class Mask:
    """What of each layer is set to zero.

    Attributes:
        amount: the percent of its units, or N and M as digits.

    Raises:
        BadInput: an amount that is no percentage from 1 to 99, or for N:M none of 14, 24, 34.
    """

    granularity: Granularity
    amount: int

    def __post_init__(self) -> None:
        allowed = N_M if self.granularity is Granularity.N_M else range(1, 100)
        if self.amount not in allowed:
            said = "14, 24 or 34" if self.granularity is Granularity.N_M else "a percentage from 1 to 99"
            raise BadInput(f"{MASK_PREFIX}{self.granularity} must be {said}, got {self.amount}")

    @property
    def pick(self) -> tuple[str, int]:
        """The pick of a candidate that stands for it."""
        return f"{MASK_PREFIX}{self.granularity}", self.amount


def mask_of(candidate: Candidate, /) -> Mask | None:
    """Return the mask that `candidate` picks.

    Raises:
        BadInput: it picks several, or one that does not exist.
    """
    picks = [(name.removeprefix(MASK_PREFIX), value) for name, value in candidate.picks if name.startswith(MASK_PREFIX)]
    if len(picks) > 1 or any(name not in list(Granularity) for name, _ in picks):
        raise BadInput(f"candidate {candidate.id} must have one mask of {', '.join(Granularity)} at most, got {picks}")
    return Mask(Granularity(picks[0][0]), picks[0][1]) if picks else None
