"""Every way to score channels, under one name each; what scores is imported when it is asked for."""

from collections.abc import Mapping
from enum import StrEnum


class Importance(StrEnum):
    """How channels are scored; "greedy" is the order of `spaces.importance.elimination`."""

    GREEDY = "greedy"
    CONTRIBUTION = "contribution"
    TAYLOR = "taylor"
    FISHER = "fisher"
    L1 = "l1"
    L2 = "l2"
    FPGM = "fpgm"
    GAMMA = "gamma"
    KERNEL_GAMMA = "kernel_gamma"
    RANDOM = "random"


SCORERS: Mapping[Importance, str] = {
    Importance.CONTRIBUTION: "spaces.importance.from_activations:contribution",
    Importance.TAYLOR: "spaces.importance.from_activations:taylor",
    Importance.FISHER: "spaces.importance.from_activations:fisher",
    Importance.L1: "spaces.importance.from_weights:l1_of",
    Importance.L2: "spaces.importance.from_weights:l2",
    Importance.FPGM: "spaces.importance.from_weights:fpgm",
    Importance.GAMMA: "spaces.importance.from_weights:gamma",
    Importance.KERNEL_GAMMA: "spaces.importance.from_weights:kernel_gamma",
    Importance.RANDOM: "spaces.importance.from_weights:at_random",
}
"""The `Scorer` of each importance of single channels, as "module:function"."""
