"""Which channels of a block matter: every way to score them, under one name each."""

from collections.abc import Mapping
from enum import StrEnum

from torch import Tensor, nn

from spaces.channels.graph import ChannelGraph
from spaces.importance.from_activations import contribution, fisher, taylor
from spaces.importance.from_weights import at_random, fpgm, gamma, kernel_gamma, l1, l2
from spaces.importance.scores import Scorer, Scores, Subject


class Importance(StrEnum):
    """How channels are scored; "greedy" is the order of `spaces.elimination`."""

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


def score_channels(
    parent: nn.Module, graph: ChannelGraph, images: Tensor, /, *, importance: Importance, seed: int
) -> Scores:
    """Return the scores of the channels of `parent` by any importance but greedy, which `spaces.elimination` finds.

    Raises:
        ValueError: `importance` is greedy.
        BadInput: `parent` lacks the BatchNorm that `importance` reads.
    """
    if importance is Importance.GREEDY:
        raise ValueError("importance must be one of single channels, got greedy")
    return _SCORERS[importance](Subject(parent, graph, images, seed))


_SCORERS: Mapping[Importance, Scorer] = {
    Importance.CONTRIBUTION: lambda of: contribution(of.parent, of.graph, of.images),
    Importance.TAYLOR: lambda of: taylor(of.parent, of.graph, of.images, seed=of.seed),
    Importance.FISHER: lambda of: fisher(of.parent, of.graph, of.images, seed=of.seed),
    Importance.L1: lambda of: l1(of.parent.state_dict(), of.graph),
    Importance.L2: lambda of: l2(of.parent.state_dict(), of.graph),
    Importance.FPGM: lambda of: fpgm(of.parent.state_dict(), of.graph),
    Importance.GAMMA: lambda of: gamma(of.parent.state_dict(), of.graph),
    Importance.KERNEL_GAMMA: lambda of: kernel_gamma(of.parent, of.graph, of.images[:1]),
    Importance.RANDOM: lambda of: at_random(of.graph, seed=of.seed),
}
