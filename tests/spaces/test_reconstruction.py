import copy
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional

from spaces.calibration import calibrate_bn_
from spaces.reconstruction import RIDGE, ROWS, observe, reconstruct_
from spaces.subnet import Chosen, install, slice_tensors
from tests.spaces.chain import Chain, chain, chain_graph, noise

NOTHING_CUT = replace(chain_graph(), blocks=(), axes={})
IMAGES = noise(4, 3, 16, 16)


def cut(parent: Chain, chosen: Chosen) -> Chain:
    subnet = install(parent, slice_tensors(parent.state_dict(), chain_graph(), chosen))
    assert isinstance(subnet, Chain)
    return subnet


@pytest.mark.parametrize("seed", range(3))
def test_a_network_with_nothing_cut_keeps_its_outputs(seed: int) -> None:
    parent, subnet = chain(seed), chain(seed)
    reconstruct_(subnet, NOTHING_CUT, (), observe(parent, IMAGES, seed=0))
    unseen = noise(2, 3, 16, 16, seed=9)
    with torch.no_grad():
        torch.testing.assert_close(subnet(unseen)[0], parent(unseen)[0], rtol=1e-4, atol=1e-5)


def test_with_batchnorm_it_keeps_them_up_to_the_step_from_sample_to_population_variance() -> None:
    torch.manual_seed(0)
    parent = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 8, 1), nn.BatchNorm2d(8))
    calibrate_bn_(parent.eval(), [IMAGES])
    subnet = copy.deepcopy(parent)
    reconstruct_(subnet, NOTHING_CUT, (), observe(parent, IMAGES, seed=0))
    with torch.no_grad():
        error = (subnet(IMAGES) - parent(IMAGES)).abs().max() / parent(IMAGES).abs().max()
    # the second convolution is fitted behind a BatchNorm in train mode, 4 * 14 * 14 = 784 values a channel: it sees
    # its input sqrt(784 / 783) = 1.00064 times as large as in eval mode
    assert error < 1e-3


def ridge_regression(parent: nn.Conv2d, inherited: nn.Conv2d) -> tuple[Tensor, Tensor]:
    """Return weights and bias by least squares over all places, the ridge as additional rows of the system."""
    assert not isinstance(parent.padding, str)
    columns = functional.unfold(IMAGES.double(), parent.kernel_size, parent.dilation, parent.padding, parent.stride)
    x = columns.transpose(1, 2).flatten(0, 1)  # (n, 3 * kernel places)
    y = parent(IMAGES).double().flatten(2).transpose(1, 2).flatten(0, 1)  # (n, channels)
    assert len(x) <= ROWS  # else only some of the places are observed
    mean_in, mean_out = x.mean(0), y.mean(0)
    x, y = x - mean_in, y - mean_out
    ridge = (RIDGE * x.pow(2).sum(0).mean() + 1e-6).sqrt()
    pull = ridge * torch.eye(x.shape[1], dtype=torch.float64)
    start = inherited.weight.double().flatten(1).T
    weights = torch.linalg.lstsq(torch.cat([x, pull]), torch.cat([y, ridge * start])).solution
    return weights.T.reshape(parent.weight.shape), mean_out - mean_in @ weights


@pytest.mark.parametrize(
    ("kernel", "stride", "padding", "dilation"), [(1, 1, 0, 1), (3, 1, 1, 1), (3, 2, 1, 1), (2, 2, 0, 1), (3, 1, 2, 2)]
)
@torch.no_grad()
def test_a_layer_gets_the_weights_of_ridge_regression(kernel: int, stride: int, padding: int, dilation: int) -> None:
    torch.manual_seed(1)
    parent, layer = (nn.Conv2d(3, 4, kernel, stride, padding, dilation) for _ in range(2))
    weights, bias = ridge_regression(parent, layer)
    reference = observe(nn.Sequential(parent), IMAGES, seed=0)
    reconstruct_(nn.Sequential(layer), NOTHING_CUT, (), reference)
    assert layer.bias is not None
    torch.testing.assert_close(layer.weight.double(), weights, rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(layer.bias.double(), bias, rtol=1e-3, atol=1e-4)


masks = st.lists(st.booleans(), min_size=6, max_size=6).filter(any)


@settings(deadline=None, max_examples=10)
@given(masks, st.integers(0, 3))
@torch.no_grad()
def test_reconstruction_never_leaves_the_calibration_images_further_from_the_parent(
    stays: list[bool], seed: int
) -> None:
    parent = chain(seed)
    chosen = (np.array(stays), np.ones(5, bool))
    subnet = cut(parent, chosen)
    before, target = subnet.second(subnet.first(IMAGES).relu()), parent.second(parent.first(IMAGES).relu())
    reconstruct_(subnet, chain_graph(), chosen, observe(parent, IMAGES, seed=0))
    after = subnet.second(subnet.first(IMAGES).relu())
    assert (after - target).pow(2).mean() <= (before - target).pow(2).mean() + 1e-6


@torch.no_grad()
def test_a_layer_that_reads_uncut_channels_keeps_the_rows_that_stay() -> None:
    parent = chain()
    chosen = (np.array([True, False, True, True, False, True]), np.ones(5, bool))
    subnet = cut(parent, chosen)
    reconstruct_(subnet, chain_graph(), chosen, observe(parent, IMAGES, seed=0))
    torch.testing.assert_close(subnet.first.weight, parent.first.weight[[0, 2, 3, 5]], rtol=1e-3, atol=1e-4)


@torch.no_grad()
def test_images_that_tell_nothing_leave_the_weights_as_they_were() -> None:
    parent, subnet = chain(), chain()
    reconstruct_(subnet, NOTHING_CUT, (), observe(parent, torch.zeros(4, 3, 16, 16), seed=0))
    torch.testing.assert_close(subnet.first.weight, parent.first.weight)


def test_observing_follows_the_seed_and_changes_nothing() -> None:
    parent = chain()
    images = noise(64, 3, 32, 32)  # 64 * 16 * 16 places are more than ROWS
    first, same, other = (observe(parent, images, seed=seed) for seed in (0, 0, 1))
    assert all(torch.equal(first.places[name], same.places[name]) for name in first.places)
    assert not torch.equal(first.places["first"], other.places["first"])
    assert {name: tuple(target.shape) for name, target in first.targets.items()} == {
        "first": (ROWS, 6),
        "second": (ROWS, 5),
        "last": (ROWS, 4),
    }
    assert all(torch.equal(tensor, chain().state_dict()[name]) for name, tensor in parent.state_dict().items())
