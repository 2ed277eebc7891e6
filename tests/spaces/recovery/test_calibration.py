import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from spaces.recovery.calibration import (
    FOLLOW,
    Statistics,
    calibrate_bn_,
    correct_statistics,
    gather_statistics,
    merge_statistics,
    read_statistics,
    set_statistics_,
)
from tests.spaces.chain import noise

IMAGES = noise(12, 3, 16, 16)


def network() -> nn.Sequential:
    torch.manual_seed(0)
    layers = [nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6), nn.SiLU(), nn.Conv2d(6, 4, 3, stride=2), nn.BatchNorm2d(4)]
    return nn.Sequential(*layers).eval()


def assert_same(found: Statistics, expected: Statistics) -> None:
    assert found.n_images == expected.n_images
    assert set(found.means) == set(expected.means) == {"1", "4"}
    for name in expected.means:
        torch.testing.assert_close(found.means[name], expected.means[name], rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(found.variances[name], expected.variances[name], rtol=1e-5, atol=1e-6)


def test_calibrated_statistics_are_the_mean_over_the_batches_and_nothing_of_before() -> None:
    layer = nn.BatchNorm2d(2)
    assert layer.running_mean is not None
    layer.running_mean.fill_(100.0)
    batches = [torch.full((2, 2, 4, 4), value) + torch.arange(2.0)[:, None, None, None] for value in (1.0, 3.0)]
    calibrate_bn_(layer.eval(), batches)
    assert layer.running_mean.tolist() == [2.5, 2.5]  # ((1 + 2) / 2 + (3 + 4) / 2) / 2
    assert layer.momentum == 0.1
    assert not layer.training


def test_a_last_batch_that_is_smaller_counts_by_its_images() -> None:
    layer = nn.BatchNorm2d(1)
    calibrate_bn_(layer.eval(), [torch.zeros(3, 1, 2, 2), torch.full((1, 1, 2, 2), 8.0)])
    assert layer.running_mean is not None
    assert layer.running_mean.tolist() == [2.0]  # (3 * 0 + 1 * 8) / 4


def test_calibration_without_images_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one batch"):
        calibrate_bn_(nn.BatchNorm2d(2), [])


def test_gathering_tells_what_calibration_would_write_and_leaves_the_network_as_it_is() -> None:
    model, before = network(), network().state_dict()
    gathered = gather_statistics(model, IMAGES.split(4))
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert [layer.momentum for layer in model if isinstance(layer, nn.BatchNorm2d)] == [0.1, 0.1]
    calibrate_bn_(model, IMAGES.split(4))
    assert_same(gathered, read_statistics(model, n_images=12))


@settings(deadline=None, max_examples=15)
@given(st.lists(st.integers(1, 5), min_size=1, max_size=5), st.integers(1, 3))
def test_statistics_merged_from_several_workers_equal_one_workers(sizes: list[int], n_workers: int) -> None:
    batches = list(noise(sum(sizes), 3, 16, 16).split(sizes))
    shares = [batches[worker::n_workers] for worker in range(n_workers)]
    parts = [gather_statistics(network(), share) for share in shares if share]
    assert_same(merge_statistics(parts), gather_statistics(network(), batches))


def test_a_network_with_merged_statistics_computes_what_the_calibrated_one_does() -> None:
    merged, calibrated = network(), network()
    calibrate_bn_(calibrated, IMAGES.split(4))
    set_statistics_(merged, merge_statistics([gather_statistics(merged, part.split(4)) for part in IMAGES.split(8)]))
    with torch.no_grad():
        torch.testing.assert_close(merged(IMAGES), calibrated(IMAGES), rtol=1e-5, atol=1e-5)


def test_merging_nothing_or_different_networks_is_refused() -> None:
    part = gather_statistics(network(), [IMAGES])
    with pytest.raises(ValueError, match="at least one part"):
        merge_statistics([])
    with pytest.raises(ValueError, match="different networks"):
        merge_statistics([part, gather_statistics(network()[:2], [IMAGES])])


def one_layer(mean: float, variance: float) -> Statistics:
    return Statistics(8, {"layer": torch.tensor([mean])}, {"layer": torch.tensor([variance])})


def test_statistics_are_corrected_as_the_parents_move_from_few_images_to_many() -> None:
    found = correct_statistics(one_layer(10.0, 4.0), one_layer(1.0, 1.0), one_layer(2.0, 3.0))
    # one parent deviation of 1 is one of sqrt(4) here; the variance goes up threefold where all of the move is followed
    assert found.means["layer"].item() == pytest.approx(10 + FOLLOW * 2 * (2 - 1))
    assert found.variances["layer"].item() == pytest.approx(4 * 3**FOLLOW)


def test_a_channel_that_is_dead_in_the_parent_stays_as_it_is() -> None:
    found = correct_statistics(one_layer(10.0, 4.0), one_layer(0.5, 0.0), one_layer(0.5, 0.0))
    assert (found.means["layer"].item(), found.variances["layer"].item()) == (10.0, 4.0)
