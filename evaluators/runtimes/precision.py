"""In what a deployed file computes."""

from enum import StrEnum


class Precision(StrEnum):
    """What the weights and activations of a file are computed in."""

    FP32 = "fp32"
    INT8 = "int8"


class Int8(StrEnum):
    """For which processors the integers of an INT8 file are made.

    A processor without VNNI (AVX2 alone) adds two products of a byte and a weight in 16 bits, which overflow: 255 *
    (127 + 127) is 64,770. In a portable file no two weights of 8-bit inputs exceed 128 together.
    """

    PORTABLE = "portable"
    VNNI = "vnni"
