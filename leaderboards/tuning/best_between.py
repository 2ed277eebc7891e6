"""Never below the start: of a network before its training, after it, and between the two, what does best.

A short training on little data may cost more than it brings. Weights on the straight way between two networks of one
start are a network that works too, and often a better one than either end.
Source: Wortsman 2022, Robust fine-tuning of zero-shot models (arXiv:2109.01903).
"""

import copy
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from ultralytics.nn.tasks import DetectionModel

SHARES = (0.0, 0.25, 0.5, 0.75, 1.0)  # of the way from the untrained weights to the trained
ENDS = (0.0, 1.0)


class Best(NamedTuple):
    """What was kept of a training.

    Attributes:
        share: of the way from the untrained weights, 0.0, to the trained, 1.0.
        score: its own; `before` that of the untrained network, and `after` that of the trained.
    """

    network: DetectionModel
    share: float
    score: float
    before: float
    after: float


def best_between(
    untrained: DetectionModel,
    trained: DetectionModel,
    score: Callable[[DetectionModel], float],
    /,
    *,
    shares: Sequence[float] = SHARES,
) -> Best:
    """Return what has the highest `score` on the way from `untrained` to `trained`; of equal ones the furthest.

    Args:
        score: of a network that it may move to another device.
        shares: the places that are tried, both ends among them.
    """
    scores = {share: score(between(untrained, trained, share)) for share in shares}
    share = max(shares, key=lambda each: (scores[each], each))
    return Best(between(untrained, trained, share), share, scores[share], scores[0.0], scores[1.0])


@torch.no_grad()
def between(untrained: DetectionModel, trained: DetectionModel, share: float, /) -> DetectionModel:
    """Return a network whose weights and statistics lie at `share` of the way; the ends are exactly themselves."""
    start, end = untrained.state_dict(), trained.state_dict()
    mixed = copy.deepcopy(trained)
    mixed.load_state_dict(
        {
            name: start[name].to(tensor.device).lerp(tensor, share) if tensor.is_floating_point() else tensor
            for name, tensor in end.items()
        }
    )
    return mixed
