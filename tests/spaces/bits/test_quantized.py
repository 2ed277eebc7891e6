import copy
import math
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from spaces.bits.layer_bits import LayerBits
from spaces.bits.quantized import QuantizedConv2d, allocation_of, bits_mean, plain, quantize_, quantized_layers
from spaces.bits.ranges import Grid
from spaces.bits.simulation import MIN_IMAGES, Simulator
from spaces.candidate import Candidate
from spaces.detectors.detector import load_detector, save_detector
from spaces.errors import BadInput
from tests.spaces.chain import noise
from tests.spaces.networks.test_folding import raw_scores
from tests.spaces.untrained import detector

IMAGES = noise(MIN_IMAGES, 3, 64, 64)


def grid(scale: list[float], lowest: int, highest: int, zero: int = 0) -> Grid:
    return Grid(torch.tensor(scale), torch.full((len(scale),), zero, dtype=torch.int32), lowest, highest)


def layer() -> QuantizedConv2d:
    """Two output channels of one weight each, steps .5 and .25, on inputs of step .1 from 0 to 1.5."""
    made = nn.Conv2d(1, 2, 1, bias=False)
    made.weight.data = torch.tensor([0.6, -0.3]).view(2, 1, 1, 1)
    quantize_(made, LayerBits(4, 4), weights=grid([0.5, 0.25], -7, 7), inputs=grid([0.1], 0, 15))
    assert isinstance(made, QuantizedConv2d)
    return made


def test_a_layer_multiplies_rounded_inputs_by_rounded_weights() -> None:
    # .17 is .2 on steps of .1, 9.0 is cut off at 15 x .1; .6 is .5 on steps of .5, -.3 is -.25 on steps of .25
    found = layer()(torch.tensor([0.17, 9.0]).view(1, 1, 1, 2))
    expected = torch.tensor([[0.2 * 0.5, 1.5 * 0.5], [0.2 * -0.25, 1.5 * -0.25]])
    torch.testing.assert_close(found[0, :, 0].detach(), expected)


def test_it_computes_the_same_while_it_learns() -> None:
    x = torch.rand(2, 1, 3, 3) * 2
    learning = layer()
    with torch.no_grad():
        expected = learning(x)
    torch.testing.assert_close(learning(x), expected)


def naive_gradients(x: float, scale: float, lowest: int, highest: int) -> tuple[float, float]:
    """Return the slopes of a rounded value by itself and by its step (Esser 2020, equations 3 and 5)."""
    place = x / scale
    if place < lowest or place > highest:
        return 0.0, float(lowest if place < lowest else highest)
    return 1.0, round(place) - place


@pytest.mark.parametrize("value", [0.17, 0.68, 9.0])
def test_gradients_are_those_of_learned_step_sizes(value: float) -> None:
    learning = layer()
    x = torch.full((1, 1, 1, 1), value, requires_grad=True)
    learning(x).sum().backward()
    by_x, by_step = naive_gradients(value, 0.1, 0, 15)
    out = 0.5 - 0.25  # what the outputs gain for each unit of the rounded input
    assert x.grad is not None
    assert learning.log_input_scale.grad is not None
    assert float(x.grad) == pytest.approx(by_x * out)
    # one value, highest integer 15: damped by 1 / sqrt(15); by the logarithm a step counts as often as it is long
    assert float(learning.log_input_scale.grad) == pytest.approx(by_step * out * 0.1 / math.sqrt(15), abs=1e-6)


def test_a_step_that_is_learned_makes_the_error_smaller() -> None:
    learning, generator = layer(), torch.Generator().manual_seed(0)
    learning.weight.requires_grad_(False)
    x = torch.rand(64, 1, 4, 4, generator=generator) * 4  # the grid ends at 1.5
    expected = nn.functional.conv2d(x, learning.rounded_weight())
    optimizer = torch.optim.Adam([learning.log_input_scale], lr=0.02)
    losses = []
    for _ in range(200):
        loss = (learning(x) - expected).square().mean()
        losses.append(float(loss.detach()))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert losses[-1] < losses[0] / 50
    assert float(learning.log_input_scale.detach().exp()) == pytest.approx(4 / 15, rel=0.1)


@pytest.fixture(scope="module")
def rounded() -> nn.Module:
    allocation = {"2.cv1": LayerBits(4, 8), "4.cv2": LayerBits(3, 4)}
    return Simulator(detector(), IMAGES)(allocation)


def test_bits_and_outputs_survive_a_file(rounded: nn.Module, tmp_path: Path) -> None:
    candidate = Candidate("same", (("2.cv1.activation_bits", 8), ("2.cv1.weight_bits", 4)))
    save_detector(rounded, tmp_path, candidate=candidate)
    loaded, architecture = load_detector(tmp_path)
    assert allocation_of(loaded) == {"2.cv1": LayerBits(4, 8), "4.cv2": LayerBits(3, 4)}
    assert (architecture.candidate, architecture.bits) == (candidate, allocation_of(rounded))
    torch.testing.assert_close(raw_scores(loaded, IMAGES), raw_scores(rounded, IMAGES), rtol=1e-5, atol=1e-5)


def test_a_file_that_gives_bits_to_no_layer_is_refused(rounded: nn.Module, tmp_path: Path) -> None:
    save_detector(rounded, tmp_path, candidate=Candidate("same", ()))
    path = tmp_path / "architecture.json"
    path.write_text(path.read_text().replace("4.cv2.", "4.cv9."))
    with pytest.raises(BadInput, match=r"4\.cv9"):
        load_detector(tmp_path)


def test_plain_layers_hold_the_rounded_weights(rounded: nn.Module) -> None:
    found = plain(rounded)
    assert not quantized_layers(found)
    assert len(quantized_layers(rounded)) == 2
    own = {name: tuple(tensor.shape) for name, tensor in found.state_dict().items()}
    assert not any("scale" in name or "zero_point" in name for name in own)
    weights: dict[str, Tensor] = dict(found.named_parameters())
    expected = quantized_layers(rounded)["4.cv2"].rounded_weight()
    assert torch.equal(weights["model.4.cv2.conv.weight"], expected)
    assert max(len(row.unique()) for row in weights["model.4.cv2.conv.weight"]) <= 7


def test_a_copy_has_grids_of_its_own(rounded: nn.Module) -> None:
    copied = copy.deepcopy(rounded)
    with torch.no_grad():
        quantized_layers(copied)["2.cv1"].log_input_scale.add_(1.0)
    before, after = (quantized_layers(model)["2.cv1"].input_grid().scale for model in (rounded, copied))
    assert float(after / before) == pytest.approx(math.e)


def test_mean_bits_weigh_layers_by_their_weights() -> None:
    first = nn.Conv2d(1, 3, 1)
    model = nn.Sequential(first, nn.Conv2d(3, 1, 1))  # 3 weights each
    quantize_(first, LayerBits(4, 8), weights=grid([1.0], -7, 7), inputs=grid([1.0], 0, 255))
    assert bits_mean(model) == pytest.approx((4 + 32) / 2)
