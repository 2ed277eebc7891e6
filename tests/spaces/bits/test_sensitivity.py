import copy

import numpy as np
import pytest
import torch
from torch import Tensor

from spaces.activations.fisher import surprise
from spaces.bits.layer_bits import BitTable, LayerBits, Protection, cross_bits
from spaces.bits.ranges import RangeMethod
from spaces.bits.sensitivity import BATCH, SENSITIVITIES, Sensitivity, fisher, hessian, sqnr
from spaces.bits.simulation import Scheme, Simulator
from tests.spaces.chain import Chain, chain, chain_graph, noise
from tests.spaces.untrained import detector, graph_of

IMAGES = noise(2 * BATCH, 3, 16, 16)
OPTIONS = cross_bits([2, 4, 8], [4, 8])
NOTHING = Protection(first=False, last=False, decode=False)
NAMES = ("first", "second", "last")


@pytest.fixture(scope="module")
def simulator() -> Simulator:
    return Simulator(chain(), IMAGES, protection=NOTHING)


@pytest.fixture(scope="module")
def table() -> BitTable:
    return BitTable(chain_graph(), OPTIONS, protection=NOTHING)


def io(model: Chain, images: Tensor) -> dict[str, tuple[Tensor, Tensor]]:
    """Return what each layer of a chain reads and makes."""
    first = model.first(images)
    second = model.second(first.relu())
    return {
        "first": (images, first),
        "second": (first.relu(), second),
        "last": (second.relu(), model.last(second.relu())),
    }


@torch.no_grad()
def error(simulator: Simulator, name: str, bits: LayerBits, x: Tensor) -> Tensor:
    """Return how far a layer's outputs are off on the inputs `x`."""
    layer = copy.deepcopy(simulator.layers[name])
    exact = layer(x)
    layer.weight.copy_(simulator.weight(name, bits.weight))
    found: Tensor = layer(simulator.grid(name, bits.activation).round(x)) - exact
    return found


@pytest.mark.parametrize("measure", SENSITIVITIES.values(), ids=SENSITIVITIES)
def test_costs_rise_as_bits_fall_and_follow_the_seed(
    measure: Sensitivity, simulator: Simulator, table: BitTable
) -> None:
    found = measure(simulator, table, IMAGES, seed=0)
    assert found.shape == (3, len(OPTIONS))
    assert (found >= 0).all()
    assert np.array_equal(found, measure(simulator, table, IMAGES, seed=0))
    worst, best = OPTIONS.index(LayerBits(2, 4)), OPTIONS.index(LayerBits(8, 8))
    assert (found[:, worst] >= found[:, best]).all()
    assert found[:, worst].sum() > 10 * found[:, best].sum()


def test_the_inverse_sqnr_is_that_of_a_naive_computation(simulator: Simulator, table: BitTable) -> None:
    found = sqnr(simulator, table, IMAGES[:BATCH], seed=0)
    with torch.no_grad():
        seen = io(chain(), IMAGES[:BATCH])
    for row, (name, (x, y)) in zip(found, seen.items(), strict=True):
        expected = [float(error(simulator, name, bits, x).square().sum() / y.square().sum()) for bits in OPTIONS]
        assert row == pytest.approx(expected, rel=1e-4)


def test_fisher_costs_are_those_of_a_naive_computation(simulator: Simulator, table: BitTable) -> None:
    found = fisher(simulator, table, IMAGES, seed=3)
    generator = torch.Generator().manual_seed(3)
    expected = np.zeros(found.shape)
    for part in IMAGES.split(BATCH):
        seen = io(chain(), part)
        output = seen["last"][1].flatten(2)
        loss = surprise({"boxes": output, "scores": output}, generator)
        slopes = torch.autograd.grad(loss, [y for _, y in seen.values()])
        for row, (name, (x, _)), slope in zip(expected, seen.items(), slopes, strict=True):
            row += [float((slope * error(simulator, name, bits, x.detach())).square().sum()) / 2 for bits in OPTIONS]
    np.testing.assert_allclose(found, expected / len(IMAGES), rtol=1e-3)


def test_the_curvature_of_the_last_layer_is_that_of_the_loss_itself(simulator: Simulator, table: BitTable) -> None:
    # other layers are probed in the same pass, which cancels on average only
    found = np.mean([hessian(simulator, table, IMAGES[:BATCH], seed=seed)[2] for seed in range(20)], 0)
    x, y = io(chain(), IMAGES[:BATCH])["last"]
    # scores and boxes are the same four outputs here: half the cross-entropy, which curves by p (1 - p), and four box
    # values without bins, which enter linearly and curve nothing
    chance = y.detach().sigmoid()
    mean = float((0.5 * chance * (1 - chance)).mean())
    expected = [mean / 2 * float(error(simulator, "last", bits, x.detach()).square().sum()) / BATCH for bits in OPTIONS]
    assert found == pytest.approx(expected, rel=0.1)


def test_equal_bits_of_protected_layers_cost_the_same() -> None:
    table = BitTable(graph_of(), OPTIONS)
    images = noise(8, 3, 64, 64)
    scheme = Scheme(weights=RangeMethod.MIN_MAX, activations=RangeMethod.MIN_MAX)
    found = sqnr(Simulator(detector(), images, scheme=scheme), table, images, seed=0)
    assert len(set(found[table.layers.index("0")])) == 1
    assert len(set(found[table.layers.index("2.cv1")])) == len(OPTIONS)
