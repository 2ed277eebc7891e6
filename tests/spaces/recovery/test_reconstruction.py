import copy

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional

from spaces.activations.covariance import covariances
from spaces.channels.graph import ChannelGraph
from spaces.cutting.subnet import Chosen, Kept, install, kept_indices, slice_tensors
from spaces.recovery.calibration import calibrate_bn_
from spaces.recovery.reconstruction import RIDGE, Reference, observe, reconstruct_, reconstruct_once_
from tests.spaces.chain import Chain, all_places, chain, chain_graph, noise

NOTHING_CUT: Kept = {}
IMAGES = noise(4, 3, 16, 16)


def observed(parent: nn.Module, images: Tensor = IMAGES) -> Reference:
    return observe(parent, images, all_places(parent, images))


def cut(parent: Chain, chosen: Chosen) -> Chain:
    subnet = install(parent, slice_tensors(parent.state_dict(), chain_graph(), chosen))
    assert isinstance(subnet, Chain)
    return subnet


@pytest.mark.parametrize("seed", range(3))
def test_a_network_with_nothing_cut_keeps_its_outputs(seed: int) -> None:
    parent, subnet = chain(seed), chain(seed)
    reconstruct_(subnet, NOTHING_CUT, observed(parent))
    unseen = noise(2, 3, 16, 16, seed=9)
    with torch.no_grad():
        torch.testing.assert_close(subnet(unseen)[0], parent(unseen)[0], rtol=1e-4, atol=1e-5)


def test_with_batchnorm_it_keeps_them_up_to_the_step_from_sample_to_population_variance() -> None:
    torch.manual_seed(0)
    parent = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 8, 1), nn.BatchNorm2d(8))
    calibrate_bn_(parent.eval(), [IMAGES])
    subnet = copy.deepcopy(parent)
    reconstruct_(subnet, NOTHING_CUT, observed(parent))
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
    reference = observed(nn.Sequential(parent))
    reconstruct_(nn.Sequential(layer), NOTHING_CUT, reference)
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
    reconstruct_(subnet, kept_indices(chain_graph(), chosen), observed(parent))
    after = subnet.second(subnet.first(IMAGES).relu())
    assert (after - target).pow(2).mean() <= (before - target).pow(2).mean() + 1e-6


@torch.no_grad()
def test_a_layer_that_reads_uncut_channels_keeps_the_rows_that_stay() -> None:
    parent = chain()
    chosen = (np.array([True, False, True, True, False, True]), np.ones(5, bool))
    subnet = cut(parent, chosen)
    reconstruct_(subnet, kept_indices(chain_graph(), chosen), observed(parent))
    torch.testing.assert_close(subnet.first.weight, parent.first.weight[[0, 2, 3, 5]], rtol=1e-3, atol=1e-4)


@torch.no_grad()
def test_images_that_tell_nothing_leave_the_weights_as_they_were() -> None:
    parent, subnet = chain(), chain()
    reconstruct_(subnet, NOTHING_CUT, observed(parent, torch.zeros(4, 3, 16, 16)))
    torch.testing.assert_close(subnet.first.weight, parent.first.weight)


def test_observing_keeps_the_outputs_at_the_places_and_changes_nothing() -> None:
    parent = chain()
    places = {"first": torch.tensor([0, 63, 64, 200]), "last": torch.tensor([5])}  # of 4 images of 8 x 8 places
    reference = observe(parent, IMAGES, places)
    with torch.no_grad():
        first = parent.first(IMAGES)
    expected = torch.stack([first[0, :, 0, 0], first[0, :, 7, 7], first[1, :, 0, 0], first[3, :, 1, 0]])
    torch.testing.assert_close(reference.targets["first"], expected)
    assert {name: tuple(target.shape) for name, target in reference.targets.items()} == {
        "first": (4, 6),
        "last": (1, 4),
    }
    assert all(torch.equal(tensor, chain().state_dict()[name]) for name, tensor in parent.state_dict().items())
    assert not any(layer._forward_hooks for layer in parent.modules())


def test_activations_that_are_not_finite_are_said_to_be_so() -> None:
    images = IMAGES.clone()
    images[1, 0, 3, 3] = torch.nan
    parent = chain()
    with pytest.raises(FloatingPointError, match="activations must be finite"):
        reconstruct_(chain(), NOTHING_CUT, observed(parent, images))
    chosen = (np.arange(6) < 4, np.ones(5, bool))
    found = covariances(parent, images, all_places(parent, images))
    with pytest.raises(FloatingPointError, match="activations must be finite"):
        reconstruct_once_(cut(parent, chosen), kept_indices(chain_graph(), chosen), parent, covariances=found)


def once(parent: nn.Module, subnet: nn.Module, graph: ChannelGraph, chosen: Chosen) -> None:
    found = covariances(parent, IMAGES, all_places(parent, IMAGES))
    reconstruct_once_(subnet, kept_indices(graph, chosen), parent, covariances=found)


@settings(deadline=None, max_examples=10)
@given(masks, st.integers(0, 3))
@torch.no_grad()
def test_one_shot_never_leaves_a_layer_further_from_the_parent_than_cutting_alone(stays: list[bool], seed: int) -> None:
    parent = chain(seed)
    chosen = (np.array(stays), np.ones(5, bool))
    subnet = cut(parent, chosen)  # without BatchNorm there is nothing to calibrate
    before, target = subnet.second(subnet.first(IMAGES).relu()), parent.second(parent.first(IMAGES).relu())
    once(parent, subnet, chain_graph(), chosen)
    after = subnet.second(subnet.first(IMAGES).relu())
    assert (after - target).pow(2).mean() <= (before - target).pow(2).mean() + 1e-6
    torch.testing.assert_close(after.mean((0, 2, 3)), target.mean((0, 2, 3)), rtol=1e-4, atol=1e-4)


@torch.no_grad()
def test_one_shot_with_nothing_cut_changes_nothing() -> None:
    torch.manual_seed(0)
    parent = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 8, 1)).eval()
    subnet = copy.deepcopy(parent)
    reconstruct_once_(subnet, NOTHING_CUT, parent, covariances=covariances(parent, IMAGES, all_places(parent, IMAGES)))
    assert all(torch.equal(tensor, parent.state_dict()[name]) for name, tensor in subnet.state_dict().items())


@torch.no_grad()
def test_one_shot_makes_good_a_channel_that_another_one_repeats() -> None:
    parent = chain()
    assert parent.first.bias is not None
    parent.first.weight[1] *= 10
    parent.first.bias[1] = 10.0
    parent.first.weight[4], parent.first.bias[4] = parent.first.weight[1], parent.first.bias[1]
    chosen = (np.array([True, True, True, True, False, True]), np.ones(5, bool))
    subnet, plain = cut(parent, chosen), cut(parent, chosen)
    once(parent, subnet, chain_graph(), chosen)
    target = parent.second(parent.first(IMAGES).relu())
    errors = [model.second(model.first(IMAGES).relu()) - target for model in (subnet, plain)]
    variances = [float(error.var((0, 2, 3)).sum()) for error in errors]
    # nearly all variance is the twins', v each, so the ridge is .1 * 2 v / 6 of the six inputs: a share of .033 / 1.033
    # of the lost weight is not made good, and the variance of the error is the square of that, .00104
    assert variances[0] == pytest.approx(0.00104 * variances[1], rel=0.05)
