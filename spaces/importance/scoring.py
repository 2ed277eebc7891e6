"""The scores of a parent's channels by any importance."""

from pkgutil import resolve_name

from torch import Tensor, nn

from spaces.channels.graph import ChannelGraph
from spaces.importance.by_name import SCORERS, Importance
from spaces.importance.scores import Scorer, Scores, Subject


def score_channels(
    parent: nn.Module, graph: ChannelGraph, images: Tensor, /, *, importance: Importance, seed: int
) -> Scores:
    """Return the scores of the channels of `parent` by any importance but greedy, which `elimination` finds.

    Raises:
        ValueError: `importance` is greedy.
        BadInput: `parent` lacks the BatchNorm that `importance` reads.
    """
    if importance is Importance.GREEDY:
        raise ValueError("importance must be one of single channels, got greedy")
    score: Scorer = resolve_name(SCORERS[importance])
    return score(Subject(parent, graph, images, seed))
