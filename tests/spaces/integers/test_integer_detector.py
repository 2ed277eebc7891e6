from functools import cache

import pytest
import torch
from torch import Tensor, nn

from spaces.bits.layer_bits import LayerBits, Protection
from spaces.bits.ranges import RangeMethod
from spaces.bits.simulation import MIN_IMAGES, Scheme, Simulator
from spaces.errors import BadInput
from spaces.integers.arithmetic import Multiplier, decode
from spaces.integers.integer_detector import IntegerDetector
from spaces.integers.steps import Convolution, Lookup, Step, Sum
from tests.spaces.chain import chain, noise
from tests.spaces.networks.test_folding import raw_scores
from tests.spaces.untrained import detector

IMAGES = noise(MIN_IMAGES, 3, 64, 64)
SMALL = noise(MIN_IMAGES, 3, 16, 16)
NOTHING = Protection(first=False, last=False, decode=False)


@cache
def simulator() -> Simulator:
    return Simulator(detector(), IMAGES, scheme=Scheme(weights=RangeMethod.MIN_MAX, activations=RangeMethod.MIN_MAX))


def uniform(simulator: Simulator, bits: LayerBits) -> nn.Module:
    return simulator(dict.fromkeys(simulator.layers, bits))


def quantized(model: nn.Module, bits: LayerBits) -> nn.Module:
    return uniform(Simulator(model, SMALL, protection=NOTHING), bits)


def of_kind(detector: IntegerDetector, kind: type[Step]) -> list[Step]:
    return [step for step in detector.steps.values() if isinstance(step, kind)]


@pytest.fixture(scope="module")
def eight() -> IntegerDetector:
    return IntegerDetector(uniform(simulator(), LayerBits(8, 8)), IMAGES)


@pytest.fixture(scope="module")
def four_by_shifts() -> IntegerDetector:
    return IntegerDetector(uniform(simulator(), LayerBits(4, 4)), IMAGES, is_power_of_two=True)


@pytest.fixture(scope="module")
def small() -> IntegerDetector:
    return IntegerDetector(quantized(chain(), LayerBits(4, 4)), SMALL)


@pytest.mark.parametrize("name", ["eight", "four_by_shifts", "small"])
def test_integers_equal_their_simulation_to_the_last_bit(name: str, request: pytest.FixtureRequest) -> None:
    made: IntegerDetector = request.getfixturevalue(name)
    images = SMALL[:2] if name == "small" else IMAGES[:2]
    found = made.agreement(images)
    assert found.n_sums > 500
    assert (found.n_sums_differing, found.n_rescaled_differing, found.n_drifted) == (0, 0, 0)
    assert torch.equal(made(images)[0], made.simulate(images)[0])


def test_a_chain_of_layers_is_what_whole_numbers_on_paper_give(small: IntegerDetector) -> None:
    entry, *_ = small.steps.values()
    first, second, last = of_kind(small, Convolution)
    assert entry.made is not None
    codes = ((SMALL[0].double() / entry.made.scale.double() + 0.5).floor() + entry.made.zero_point).clamp(0, 15).long()
    tables = of_kind(small, Lookup)
    for step, table in zip((first, second), tables, strict=True):
        assert isinstance(step, Convolution)
        assert isinstance(table, Lookup)
        assert step.made is not None
        factor = (step.unit / step.made.scale.double()).view(-1, 1, 1)
        places = (naive_sums(step, codes) * factor + 0.5).floor() + step.made.zero_point  # no sum is half way
        codes = table.table().long()[places.clamp(0, step.made.highest).long()]
    assert isinstance(last, Convolution)
    expected = naive_sums(last, codes) * last.unit.view(-1, 1, 1)
    assert torch.equal(small(SMALL[:1])[0][0], expected.float())


def naive_sums(step: Convolution, codes: Tensor) -> Tensor:
    """Return the sums (O, H, W) over patches of `codes` (C, H, W), product by product in int64."""
    size, n = step.weight.shape[-1], len(step.weight)
    stride = 2 if size == 3 else 1  # of the chain
    read = nn.functional.pad(codes - int(step.read.made.zero_point), [size // 2] * 4)
    patches = read.unfold(1, size, stride).unfold(2, size, stride)  # (C, H, W, size, size)
    products = step.weight.long()[:, :, None, None] * patches  # (O, C, H, W, size, size)
    return products.sum((1, 4, 5)) + step.bias.view(n, 1, 1)


def test_sums_are_the_same_in_int32_and_in_float64(eight: IntegerDetector) -> None:
    for step in of_kind(eight, Convolution):
        assert isinstance(step, Convolution)
        side = 8
        n_read = step.weight.shape[1]  # no layer here has groups
        codes = torch.randint(256, (1, n_read, side, side), generator=torch.Generator().manual_seed(0)).to(torch.uint8)
        found = step.accumulators(codes)
        read = step.read.codes(codes).double() - step.read.made.zero_point
        exact = step.operation(read, step.weight.double()) + step.bias.view(1, -1, 1, 1)
        assert found.dtype is torch.int32
        assert torch.equal(found.double(), exact)


def test_tensors_are_of_eight_bits_or_of_four_where_all_readers_have_four(small: IntegerDetector) -> None:
    highest = [step.made.highest for step in small.steps.values() if step.made is not None]
    # images, sums of the first layer, its relu, sums of the second, its relu
    assert highest == [15, 255, 15, 255, 15]


def test_a_tensor_that_a_sum_reads_keeps_eight_bits(four_by_shifts: IntegerDetector) -> None:
    sums = of_kind(four_by_shifts, Sum)
    assert sums
    assert all(grid.highest == 255 for step in sums if isinstance(step, Sum) for grid in step.read)


def is_shift(multiplier: Multiplier) -> bool:
    return bool((multiplier.mantissa & (multiplier.mantissa - 1) == 0).all())


def test_with_powers_of_two_every_rescaling_is_a_shift(four_by_shifts: IntegerDetector, eight: IntegerDetector) -> None:
    steps = [step for step in of_kind(four_by_shifts, Convolution) if isinstance(step, Convolution)]
    multipliers = [multiplier for step in steps if (multiplier := step.multiplier()) is not None]
    assert all(is_shift(multiplier) for multiplier in multipliers)
    assert all(float(step.made.scale.log2()) % 1 == 0 for step in four_by_shifts.steps.values() if step.made)
    others = [step.multiplier() for step in of_kind(eight, Convolution) if isinstance(step, Convolution)]
    assert not any(is_shift(multiplier) for multiplier in others if multiplier)


def test_a_table_holds_the_function_of_every_code(eight: IntegerDetector) -> None:
    step = of_kind(eight, Lookup)[0]
    assert isinstance(step, Lookup)
    x = decode(step.read, torch.arange(256))
    exact = (x * x.sigmoid() / step.made.scale.double() + 0.5).floor() + step.made.zero_point
    assert step.table().tolist() == exact.clamp(0, 255).int().tolist()


def test_eight_bits_find_what_the_simulated_network_finds(eight: IntegerDetector) -> None:
    expected = raw_scores(uniform(simulator(), LayerBits(8, 8)), IMAGES)
    found = eight(IMAGES)[1]["scores"]
    assert float((found - expected).square().mean() / expected.var()) < 0.2


def test_any_number_of_images_is_read_and_each_on_its_own(eight: IntegerDetector) -> None:
    together = eight(IMAGES[:5])[1]["scores"]
    assert torch.equal(together, torch.cat([eight(image[None])[1]["scores"] for image in IMAGES[:5]]))


class Pooled(nn.Module):
    """Means over windows, parts, a margin and a transposed convolution before the last layer."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 8, 3, padding=1)
        self.up = nn.ConvTranspose2d(4, 6, 2, stride=2)
        self.last = nn.Conv2d(10, 2, 1)

    def forward(self, images: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        left, right = self.first(images).sigmoid().chunk(2, 1)
        means = nn.functional.avg_pool2d(left, 2, 2)
        larger = nn.functional.max_pool2d(nn.functional.pad(right, [0, 1, 0, 1]), 2, 1)
        made = self.last(torch.cat([self.up(means), larger], 1))
        return made, {"scores": made.flatten(2)}


def test_means_parts_margins_and_transposed_convolutions_are_integers_too() -> None:
    torch.manual_seed(0)
    network = quantized(Pooled().eval(), LayerBits(8, 8))
    found = IntegerDetector(network, SMALL)
    agreed = found.agreement(SMALL)
    assert (agreed.n_sums_differing, agreed.n_rescaled_differing, agreed.n_drifted) == (0, 0, 0)
    with torch.no_grad():
        expected = network(SMALL)[0]
    assert float((found(SMALL)[0] - expected).abs().max()) < 0.05 * float(expected.std())


def test_a_channel_without_weights_keeps_its_bias() -> None:
    model = chain()
    with torch.no_grad():
        model.last.weight[1] = 0
    found = IntegerDetector(quantized(model, LayerBits(8, 8)), SMALL)(SMALL)[0]
    assert model.last.bias is not None
    torch.testing.assert_close(found[:, 1], model.last.bias.detach()[1].expand_as(found[:, 1]), atol=0, rtol=1e-6)


@pytest.mark.parametrize(
    ("bits", "told"),
    [
        ({"first": LayerBits(8, 8), "last": LayerBits(8, 8)}, "needs bits in every layer, second has none"),
        ({"first": LayerBits(8, 16)}, "at most 8 bits, layer first has W8A16"),
        ({}, "needs layers that have bits"),
    ],
)
def test_layers_without_bits_or_with_too_many_are_refused(bits: dict[str, LayerBits], told: str) -> None:
    network = Simulator(chain(), SMALL, protection=NOTHING)(bits)
    with pytest.raises(BadInput, match=told):
        IntegerDetector(network, SMALL)


class Attending(nn.Module):
    """A product of two tensors before the last layer."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 4, 1)
        self.last = nn.Conv2d(4, 2, 1)

    def forward(self, images: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        x = self.first(images)
        made = self.last(x @ x.transpose(2, 3))
        return made, {"scores": made.flatten(2)}


def test_attention_is_refused_by_its_operation() -> None:
    with pytest.raises(BadInput, match="has no matmul, which leads to layers that have bits"):
        IntegerDetector(quantized(Attending().eval(), LayerBits(8, 8)), SMALL)


def test_too_few_images_are_refused() -> None:
    with pytest.raises(BadInput, match="at least 8, got 2"):
        IntegerDetector(quantized(chain(), LayerBits(8, 8)), SMALL[:2])
