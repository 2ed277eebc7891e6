"""What the parent teaches: its scores and its box distributions, at every anchor, for every image.

The parent's soft outputs say more than the labels do (which anchor, how sure, how wide an edge is), and for a
pruned network they are the very outputs it had before the cut. Source: Hinton 2015 (arXiv:1503.02531) for soft
targets; Zheng 2022 (arXiv:2102.12252, localisation distillation) for the divergence of box distributions.
"""

from collections.abc import Mapping

from torch import Tensor
from torch.nn import functional

from spaces.networks.outputs import box_values, deployed_logits

CLASS_GAIN = 0.5  # the task loss's own gains of its class and its distribution term (ultralytics' default.yaml)
BOX_GAIN = 1.5
ANCHOR_CLASS_GAIN = 3 * 0.5 / 80  # the same of the anchor-based loss, a mean over 80 classes, at each of three levels
ANCHOR_BOX_GAIN = 3 * 0.05


def distillation_loss(student_raw: Mapping[str, Tensor], parent_raw: Mapping[str, Tensor]) -> Tensor:
    """Return how far the student's raw outputs are from the parent's: a scalar, 0 when they are equal.

    Both terms are divided by the sum of the parent's scores, as the task loss is by that of its targets, so the two
    are of one scale. With another number of classes only the boxes are compared. Of an anchor-based head the scores
    are those that are deployed, so objectness is learned with the classes.

    Args:
        student_raw: "boxes" (B, 4 * n_bins, A) and "scores" (B, n_classes, A), both logits, as
            `spaces.networks.outputs` reads them.
        parent_raw: the same of the parent, without gradient; B, A and n_bins agree.
    """
    logits, student_logits = deployed_logits(parent_raw), deployed_logits(student_raw)
    scores = logits.sigmoid()  # (B, n_classes, A)
    total = scores.sum().clamp(min=1)
    confidence = scores.amax(1)  # (B, A)
    with_anchors = "objectness" in parent_raw
    box_gain, class_gain = (ANCHOR_BOX_GAIN, ANCHOR_CLASS_GAIN) if with_anchors else (BOX_GAIN, CLASS_GAIN)
    loss = box_gain * (_box_distance(box_values(student_raw), box_values(parent_raw)) * confidence).sum() / total
    if student_logits.shape == scores.shape:
        loss = loss + class_gain * _class_divergence(student_logits, logits) / total
    return loss


def _class_divergence(student: Tensor, parent: Tensor) -> Tensor:
    """Return the summed KL divergence of the parent's class probabilities from the student's, (B, n_classes, A)."""
    targets = parent.sigmoid()
    entropy = functional.binary_cross_entropy_with_logits(parent, targets, reduction="sum")
    return functional.binary_cross_entropy_with_logits(student, targets, reduction="sum") - entropy


def _box_distance(student: Tensor, parent: Tensor) -> Tensor:
    """Return the mean over the four sides of the distributions' KL divergence; (B, 4 * n_bins, A) to (B, A).

    A head without distributions predicts the value itself: there it is the absolute difference.
    """
    if student.shape[1] == 4:
        return (student - parent).abs().mean(1)
    batch, channels, anchors = student.shape
    split = (batch, 4, channels // 4, anchors)
    log_student, log_parent = student.reshape(split).log_softmax(2), parent.reshape(split).log_softmax(2)
    return (log_parent.exp() * (log_parent - log_student)).sum(2).mean(1)
