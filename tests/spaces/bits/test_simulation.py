import pytest
import torch
from torch import Tensor, nn

from spaces.bits.layer_bits import LayerBits, Protection
from spaces.bits.quantized import layers_by_name, plain, quantized_layers
from spaces.bits.ranges import RangeMethod
from spaces.bits.simulation import MIN_IMAGES, Scheme, Simulator, simulate
from spaces.channels.blocks import layer_of
from spaces.errors import BadInput
from spaces.networks.folding import fold_bn
from tests.spaces.chain import Chain, chain, noise
from tests.spaces.networks.test_folding import raw_scores
from tests.spaces.untrained import detector

IMAGES = noise(MIN_IMAGES, 3, 64, 64)
NOTHING = Protection(first=False, last=False, decode=False)
EXTREMES = Scheme(weights=RangeMethod.MIN_MAX, activations=RangeMethod.MIN_MAX)


@pytest.fixture(scope="module")
def simulator() -> Simulator:
    return Simulator(detector(), IMAGES, scheme=EXTREMES)


def uniform(simulator: Simulator, bits: LayerBits) -> dict[str, LayerBits]:
    return dict.fromkeys(simulator.layers, bits)


def test_a_layer_computes_what_its_integers_would() -> None:
    model, images = chain(), noise(MIN_IMAGES, 3, 16, 16)
    assert model.second.bias is not None
    found = simulate(model, {"second": LayerBits(4, 6)}, images, scheme=EXTREMES, protection=NOTHING)
    with torch.no_grad():
        read = model.first(images).relu()
        step = read.max() / 63  # nothing is below 0
        whole = (read / step).round()
        scale = model.second.weight.abs().amax((1, 2, 3), keepdim=True) / 7
        weight = (model.second.weight / scale).round()
        sums = nn.functional.conv2d(whole, weight)  # of integers
        made = sums * scale.view(1, -1, 1, 1) * step + model.second.bias.view(1, -1, 1, 1)
        expected = model.last(made.relu())
        torch.testing.assert_close(found(images)[0], expected, rtol=1e-4, atol=1e-5)


class Flat(nn.Module):
    """A convolution and a linear layer on its pixels."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 4, 1)
        self.linear = nn.Linear(4, 2)

    def forward(self, images: Tensor) -> Tensor:
        return self.linear(self.first(images).permute(0, 2, 3, 1))  # type: ignore[no-any-return]


def test_linear_layers_are_rounded_too() -> None:
    model, images = Flat().eval(), noise(MIN_IMAGES, 3, 4, 4)
    found = simulate(model, {"linear": LayerBits(2, 8)}, images, protection=NOTHING)
    assert isinstance(found, Flat)
    rounded = quantized_layers(found)["linear"].rounded_weight()
    assert all(len(row.unique()) <= 3 for row in rounded)


def test_fewer_bits_err_more_and_sixteen_next_to_nothing(simulator: Simulator) -> None:
    expected = raw_scores(simulator.folded, IMAGES)
    errors = []
    for bits in (LayerBits(16, 16), LayerBits(8, 8), LayerBits(2, 4)):
        found = raw_scores(simulator(uniform(simulator, bits)), IMAGES)
        errors.append(float((found - expected).square().mean() / expected.var()))
    assert errors == sorted(errors)
    assert errors[0] < 1e-5
    assert errors[1] < 0.2 < errors[-1]


def n_values(network: nn.Module) -> dict[str, int]:
    """Return the most different weights that an output channel of each layer has."""
    layers = layers_by_name(plain(network))
    return {name: max(len(row.unique()) for row in layer.weight) for name, layer in layers.items()}


def test_first_and_last_layers_keep_eight_bits_and_the_decode_its_floats(simulator: Simulator) -> None:
    found = n_values(simulator(uniform(simulator, LayerBits(2, 4))))
    assert found["2.cv1"] == 3
    assert found["0"] > 3
    assert found["24.cv2.0.2"] > 3
    assert found["24.dfl"] == 16
    bare = Simulator(detector(), IMAGES, scheme=EXTREMES, protection=NOTHING)
    found = n_values(bare(uniform(bare, LayerBits(2, 4))))
    assert set(found.values()) <= {1, 2, 3}


def test_grids_for_a_whole_tensor_err_more_than_those_for_each_channel() -> None:
    one = Simulator(detector(), IMAGES, scheme=Scheme(weights=RangeMethod.MIN_MAX, is_per_channel=False))
    each = Simulator(detector(), IMAGES, scheme=EXTREMES)
    errors = [
        sum(float((s.weight(name, 4) - layer.weight.detach()).square().sum()) for name, layer in s.layers.items())
        for s in (one, each)
    ]
    assert errors[1] < errors[0]


def test_layers_without_bits_and_the_model_itself_stay_as_they_are(simulator: Simulator) -> None:
    model = detector()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    network = simulator({"2.cv1": LayerBits(4, 8)})
    network(IMAGES)
    assert set(quantized_layers(network)) == {"2.cv1"}
    assert not quantized_layers(simulator.folded)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert not any(layer._forward_pre_hooks for layer in (*model.modules(), *simulator.folded.modules()))


def test_folding_a_simulated_network_again_changes_nothing(simulator: Simulator) -> None:
    network = simulator(uniform(simulator, LayerBits(4, 8)))
    torch.testing.assert_close(raw_scores(fold_bn(network), IMAGES), raw_scores(network, IMAGES), rtol=0, atol=0)


def test_names_are_those_of_the_channel_graph(simulator: Simulator) -> None:
    assert {
        layer_of(f"{name}.weight") for name, layer in simulator.folded.named_modules() if isinstance(layer, nn.Conv2d)
    } == set(simulator.layers)


def test_what_cannot_be_simulated_is_refused(simulator: Simulator) -> None:
    with pytest.raises(BadInput, match="calibration images must be at least 8, got 7"):
        Simulator(detector(), IMAGES[:7])
    with pytest.raises(BadInput, match=r"layer '2\.cv9' does not exist"):
        simulator({"2.cv9": LayerBits(4, 8)})
    with pytest.raises(BadInput, match="got entropy: a channel has too few"):
        Scheme(weights=RangeMethod.ENTROPY)


class Dead(Chain):
    """Its second layer reads nothing but 0."""

    def forward(self, images: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        output = self.last(self.second(0 * self.first(images)))
        return output, {}


def test_a_layer_that_reads_nothing_but_zero_is_named() -> None:
    dead = Simulator(Dead().eval(), noise(MIN_IMAGES, 3, 16, 16), protection=NOTHING)
    dead({"last": LayerBits(4, 8)})
    with pytest.raises(BadInput, match="layer second reads nothing but 0 in all calibration images"):
        dead({"second": LayerBits(4, 8)})


def test_activations_that_are_not_finite_are_refused() -> None:
    images = noise(MIN_IMAGES, 3, 16, 16)
    images[3, 0, 4, 4] = torch.inf
    with pytest.raises(FloatingPointError, match="must be finite"):
        Simulator(chain(), images)
