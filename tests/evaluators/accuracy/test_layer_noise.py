import math
from functools import cache

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from evaluators.accuracy.layer_noise import BATCH, layer_sqnr, unrounded, worst_layers
from evaluators.data.images import Images
from spaces.bits.layer_bits import LayerBits
from spaces.bits.quantized import layers_by_name
from spaces.bits.simulation import Simulator
from tests.spaces.chain import noise
from tests.spaces.untrained import detector

N = BATCH + 2  # two batches, the second not full


@cache
def simulator() -> Simulator:
    return Simulator(detector(), noise(8, 3, 64, 64))


def images() -> Images:
    pixels = (noise(N, 3, 64, 64, seed=1).numpy().clip(0, 1) * 255).astype(np.uint8)
    zeros = np.zeros((N, 2), np.int64)
    return Images(pixels, np.full((N, 2), 64), np.ones((N, 2)), zeros, np.zeros((0, 6), np.float32))


@torch.no_grad()
def outputs_of(network: nn.Module, name: str) -> Tensor:
    """Return what one layer makes of all images at once."""
    seen: list[Tensor] = []
    hook = layers_by_name(network)[name].register_forward_hook(lambda _, __, output: seen.append(output.clone()))
    network(images().tensor())
    hook.remove()
    return seen[0]


def test_ratios_are_those_of_all_images_at_once() -> None:
    names = ("2.cv1", "9.cv2", "13.m.0.cv1")
    network = simulator()(dict.fromkeys(names, LayerBits(4, 6)))
    found = layer_sqnr(network, simulator().folded, images())
    assert set(found) == set(names)
    for name in names:
        exact, rounded = outputs_of(simulator().folded, name), outputs_of(network, name)
        ratio = float(exact.square().sum() / (exact - rounded).square().sum())
        assert found[name] == pytest.approx(10 * math.log10(ratio), abs=1e-3)


def test_every_bit_of_the_weights_is_worth_about_six_decibels_and_the_worst_comes_first() -> None:
    few, more = (
        layer_sqnr(simulator()({"2.cv1": LayerBits(bits, 16)}), simulator().folded, images())["2.cv1"]
        for bits in (4, 6)
    )
    assert 8 < more - few < 16  # half the step is 20 log10(2) = 6.02 dB less noise
    network = simulator()(
        {"2.cv1": LayerBits(8, 8), "9.cv2": LayerBits(8, 8), "4.cv1": LayerBits(8, 8), "23.cv3": LayerBits(2, 8)}
    )
    found = layer_sqnr(network, simulator().folded, images())
    worst = worst_layers(network, simulator().folded, images(), n=2)
    assert list(worst.items()) == sorted(found.items(), key=lambda item: item[1])[:2]
    assert next(iter(worst)) == "23.cv3"


@torch.no_grad()
def test_unrounded_it_is_the_float_network_again() -> None:
    network = simulator()(dict.fromkeys(("0", "9.cv2", "23.cv3"), LayerBits(3, 4)))
    batch = images().tensor()
    assert torch.equal(unrounded(network)(batch)[0], simulator().folded(batch)[0])
    assert not torch.equal(network(batch)[0], simulator().folded(batch)[0])


def test_a_network_without_bits_has_no_noise() -> None:
    assert layer_sqnr(simulator().folded, simulator().folded, images()) == {}
