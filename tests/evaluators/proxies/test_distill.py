import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from evaluators.proxies.distill import ANCHOR_BOX_GAIN, ANCHOR_CLASS_GAIN, BOX_GAIN, CLASS_GAIN, distillation_loss


def raw(seed: int, *, n_classes: int = 3, n_bins: int = 4, n_anchors: int = 5) -> dict[str, Tensor]:
    """Return random raw outputs of two images."""
    generator = torch.Generator().manual_seed(seed)
    boxes, scores = (
        3 * torch.randn(2, channels, n_anchors, generator=generator) for channels in (4 * n_bins, n_classes)
    )
    return {"boxes": boxes, "scores": scores}


def naive(student: dict[str, Tensor], parent: dict[str, Tensor], *, n_bins: int) -> float:
    """Return the loss as its definition reads, one number at a time, in double precision: 1 - q is near 0."""
    student, parent = ({name: value.double() for name, value in side.items()} for side in (student, parent))
    p, q = parent["scores"].sigmoid(), student["scores"].sigmoid()
    classes = (p * (p / q).log() + (1 - p) * ((1 - p) / (1 - q)).log()).sum().item()
    boxes = 0.0
    for image in range(2):
        for anchor in range(p.shape[2]):
            for side in range(4):
                rows = slice(side * n_bins, (side + 1) * n_bins)
                a = parent["boxes"][image, rows, anchor].softmax(0)
                b = student["boxes"][image, rows, anchor].softmax(0)
                boxes += (a * (a / b).log()).sum().item() / 4 * p[image, :, anchor].max().item()
    return (CLASS_GAIN * classes + BOX_GAIN * boxes) / max(p.sum().item(), 1)


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 99), st.integers(0, 99))
def test_loss_is_that_of_the_definition(first: int, second: int) -> None:
    student, parent = raw(first), raw(second)
    assert float(distillation_loss(student, parent)) == pytest.approx(naive(student, parent, n_bins=4), abs=1e-4)


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 99), st.sampled_from([1, 4, 16]))
def test_parent_itself_has_no_loss_and_no_gradient(seed: int, n_bins: int) -> None:
    parent = raw(seed, n_bins=n_bins)
    student = {name: value.clone().requires_grad_() for name, value in parent.items()}
    loss = distillation_loss(student, parent)
    assert abs(loss.item()) < 1e-5
    if n_bins > 1:  # an absolute difference has a kink at 0
        loss.backward()
        assert max(float(value.grad.abs().max()) for value in student.values() if value.grad is not None) < 1e-5


def test_other_classes_leave_only_the_boxes() -> None:
    student, parent = raw(0, n_classes=2), raw(1)
    same_boxes = {**student, "boxes": parent["boxes"]}
    assert abs(float(distillation_loss(same_boxes, parent))) < 1e-5
    assert float(distillation_loss(student, parent)) > 0.01


def test_head_without_distributions_is_compared_by_its_distances() -> None:
    parent = raw(0, n_bins=1, n_anchors=1)
    student = {**parent, "boxes": parent["boxes"] + 2}
    scores = parent["scores"].sigmoid()
    expected = BOX_GAIN * 2 * float(scores.amax(1).sum() / scores.sum().clamp(min=1))
    assert float(distillation_loss(student, parent)) == pytest.approx(expected, rel=1e-5)


def test_unsure_parent_does_not_blow_up_the_loss() -> None:
    parent = {**raw(0), "scores": torch.full((2, 3, 5), -30.0)}
    assert math.isfinite(float(distillation_loss(raw(1), parent)))


def with_anchors(seed: int) -> dict[str, Tensor]:
    """Return random raw outputs of an anchor-based head for two images, in double precision."""
    outputs = {**raw(seed, n_bins=1), "objectness": raw(seed + 1000, n_classes=1)["scores"]}
    return {name: value.double() for name, value in outputs.items()}


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 99), st.integers(0, 99))
def test_loss_of_an_anchor_based_head_compares_what_is_deployed(first: int, second: int) -> None:
    student, parent = with_anchors(first), with_anchors(second)
    p, q = (side["scores"].sigmoid() * side["objectness"].sigmoid() for side in (parent, student))
    classes = (p * (p / q).log() + (1 - p) * ((1 - p) / (1 - q)).log()).sum()
    apart = (2 * student["boxes"].sigmoid() - 2 * parent["boxes"].sigmoid()).abs().mean(1)  # (B, A)
    expected = (ANCHOR_CLASS_GAIN * classes + ANCHOR_BOX_GAIN * (apart * p.amax(1)).sum()) / p.sum().clamp(min=1)
    assert float(distillation_loss(student, parent)) == pytest.approx(float(expected), rel=1e-6, abs=1e-9)


def test_objectness_alone_is_taught_too() -> None:
    parent = with_anchors(0)
    student = {**parent, "objectness": (parent["objectness"] + 1).requires_grad_()}
    distillation_loss(student, parent).backward()
    gradient = student["objectness"].grad
    assert gradient is not None
    assert (gradient > 0).all()  # the student is surer of objects than its parent everywhere
