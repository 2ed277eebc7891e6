"""What may be done to a cut network before it is looked at."""

from enum import StrEnum


class Recovery(StrEnum):
    """What is done to a cut network before it is looked at, the cheapest first."""

    NOTHING = "nothing"
    ADAPTIVE_BN = "adaptive_bn"
    ONE_SHOT = "one_shot"
    RECONSTRUCT = "reconstruct"
