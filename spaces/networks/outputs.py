"""The raw outputs of a detector, read in one way whatever its head.

An anchor-free head gives "scores", the log-odds of each class, and "boxes", four distances to edges or a distribution
over bins for each. An anchor-based one gives "objectness" too, and "boxes" as four numbers before the sigmoid. What is
deployed of it is the product of objectness and class, so that is what counts here.
"""

from collections.abc import Mapping

import torch
from torch import Tensor

TENSORS = ("boxes", "scores", "objectness")


def deployed_logits(raw: Mapping[str, Tensor], /) -> Tensor:
    """Return the log-odds (B, n_classes, A) of the scores that are deployed.

    With chances p and q of logits a and b, 1 / pq = (1 + e^-a) (1 + e^-b), so the odds are 1 / (e^-a + e^-b + e^-a-b).
    """
    if "objectness" not in raw:
        return raw["scores"]
    classes, objectness = torch.broadcast_tensors(raw["scores"], raw["objectness"])
    return -torch.stack([-classes, -objectness, -classes - objectness]).logsumexp(0)


def box_values(raw: Mapping[str, Tensor], /) -> Tensor:
    """Return "boxes", or of an anchor-based head the four values in [0, 2] that its decoding places and scales by."""
    return 2 * raw["boxes"].sigmoid() if "objectness" in raw else raw["boxes"]
