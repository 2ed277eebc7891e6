"""In what a deployed file computes."""

from enum import StrEnum


class Precision(StrEnum):
    """What the weights and activations of a file are computed in."""

    FP32 = "fp32"
    INT8 = "int8"
