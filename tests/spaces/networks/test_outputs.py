import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from spaces.networks.outputs import box_values, deployed_logits

LOGITS = st.floats(-12, 12)


def raw(classes: list[float], objectness: float) -> dict[str, Tensor]:
    """Return one anchor's outputs."""
    values = {"scores": classes, "objectness": [objectness], "boxes": [-1.0, 0.0, 2.0, 50.0]}
    return {name: torch.tensor(value, dtype=torch.float64)[None, :, None] for name, value in values.items()}


@settings(deadline=None)
@given(st.lists(LOGITS, min_size=1, max_size=4), LOGITS)
def test_deployed_chance_is_the_product_of_class_and_objectness(classes: list[float], objectness: float) -> None:
    outputs = raw(classes, objectness)
    expected = outputs["scores"].sigmoid() * outputs["objectness"].sigmoid()
    torch.testing.assert_close(deployed_logits(outputs).sigmoid(), expected, rtol=1e-9, atol=0)


def test_extreme_logits_stay_finite_and_so_do_their_gradients() -> None:
    outputs = {name: value.float().requires_grad_() for name, value in raw([-300.0, 0.0, 300.0], -200.0).items()}
    found = deployed_logits(outputs)
    # next to nothing: the logits add up; a sure class: the objectness alone
    assert found.flatten().tolist() == pytest.approx([-500.0, -200.6931, -200.0])
    found.sum().backward()
    assert all(outputs[name].grad.isfinite().all() for name in ("scores", "objectness"))  # type: ignore[union-attr]


def test_head_without_anchors_is_read_as_it_is() -> None:
    outputs = {name: value for name, value in raw([1.0, 2.0], 0.0).items() if name != "objectness"}
    assert deployed_logits(outputs) is outputs["scores"]
    assert box_values(outputs) is outputs["boxes"]


def test_boxes_of_anchors_are_what_the_decoding_places_and_scales_by() -> None:
    # twice the sigmoid of -1, 0, 2, 50
    assert box_values(raw([0.0], 0.0)).flatten().tolist() == pytest.approx([0.5378828, 1.0, 1.7615942, 2.0])
