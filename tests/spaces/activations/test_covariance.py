import numpy as np
import pytest
import torch
from torch import Tensor, nn

from spaces.activations.covariance import (
    FOCUS,
    RIDGE,
    Covariance,
    count_places,
    covariances,
    kept_columns,
    move_places,
    root_of,
    sample_places,
)
from spaces.activations.patches import inputs_at
from tests.spaces.chain import all_places, chain, noise

KEPT = torch.tensor([0, 2, 3, 6, 7])


def rows(n: int = 300) -> Tensor:
    """Return rows of 8 values, (n, 8), that depend on each other and have a mean."""
    return noise(n, 8) @ noise(8, 8, seed=1) + 2


def covariance(values: Tensor) -> Covariance:
    centred = values - values.mean(0)
    return Covariance(centred.T @ centred / len(values), values.mean(0))


def naive_fit(values: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
    """Return weights on KEPT and a bias by least squares on the rows themselves, the ridge as additional rows."""
    x = values.double()
    x, mean = x - x.mean(0), x.mean(0)
    n, all_weights = len(x), weights.double()
    ridge = RIDGE * x.square().mean() + 1e-6
    pull = (n * ridge).sqrt() * torch.eye(len(KEPT), dtype=torch.float64)
    left, right = torch.cat([x[:, KEPT], pull]), torch.cat([x @ all_weights, pull @ all_weights[KEPT]])
    fitted = torch.linalg.lstsq(left, right).solution
    return fitted, mean @ all_weights - mean[KEPT] @ fitted


def test_the_ridge_is_a_share_of_the_mean_variance_of_all_columns() -> None:
    found = covariance(rows())
    damped = found.damped(KEPT)
    added = damped - found.matrix[KEPT][:, KEPT]
    expected = RIDGE * rows().var(0, correction=0).mean() + 1e-6
    torch.testing.assert_close(added, expected * torch.eye(5), rtol=1e-4, atol=1e-5)


def test_it_is_fitted_as_by_least_squares_on_the_rows() -> None:
    weights = noise(8, 3, seed=2)
    fitted, bias = covariance(rows()).fit(weights, KEPT)
    expected, expected_bias = naive_fit(rows(), weights)
    torch.testing.assert_close(fitted.double(), expected, rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(bias.double(), expected_bias, rtol=1e-3, atol=1e-3)


def test_the_loss_is_the_variance_of_what_the_fit_misses() -> None:
    weights = noise(8, 3, seed=2)
    fitted, _ = naive_fit(rows(), weights)
    missed = rows().double() @ weights.double() - rows()[:, KEPT].double() @ fitted
    found = covariance(rows()).loss(weights, KEPT)
    torch.testing.assert_close(found.double(), missed.var(0, correction=0), rtol=1e-3, atol=1e-6)


def test_images_that_tell_nothing_leave_the_weights_and_lose_nothing() -> None:
    nothing = Covariance(torch.zeros(8, 8), torch.full((8,), 0.5))
    weights = noise(8, 3, seed=2)
    fitted, bias = nothing.fit(weights, KEPT)
    assert torch.equal(fitted, weights[KEPT])
    torch.testing.assert_close(bias, 0.5 * (weights.sum(0) - weights[KEPT].sum(0)))
    assert nothing.loss(weights, KEPT).tolist() == [0, 0, 0]


def test_a_singular_covariance_is_fitted_thanks_to_the_ridge() -> None:
    values = rows()
    values[:, 2] = values[:, 0]
    values[:, 3] = 7.0
    fitted, _ = covariance(values[:5]).fit(noise(8, 3, seed=2), KEPT)  # 5 rows of 8 values, two alike, one constant
    assert fitted.isfinite().all()


def test_a_covariance_that_is_not_finite_is_said_to_be_so() -> None:
    matrix = torch.eye(3)
    matrix[1, 1] = torch.nan
    with pytest.raises(FloatingPointError, match="activations must be finite"):
        root_of(matrix)


def test_places_are_within_their_images_equally_many_of_each_and_each_at_most_once() -> None:
    fisher = {"large": noise(6, 50), "small": noise(6, 4)}
    places = sample_places(fisher, n_rows=64, seed=0)
    assert np.unique(places["large"] // 50, return_counts=True)[1].tolist() == [10] * 6  # 64 // 6
    assert len(places["large"].unique()) == 60
    assert places["small"].tolist() == list(range(24))  # all there are


def test_more_images_than_rows_still_give_one_place_each() -> None:
    assert (sample_places({"layer": noise(9, 5)}, n_rows=4, seed=0)["layer"] // 5).tolist() == list(range(9))


def test_places_are_drawn_mostly_by_fisher_information() -> None:
    information = torch.zeros(1, 10_000)
    information[0, :500] = 3.0
    places = sample_places({"layer": information}, n_rows=200, seed=0)["layer"]
    share = float((places < 500).float().mean())
    # .8 by information and .2 * 500 / 10000 by chance; to draw each at most once takes up to 160 of the 500, which
    # leaves the last draws .73; the standard deviation of 200 draws is .03
    assert FOCUS - 0.12 < share < FOCUS + 0.1


def test_without_information_places_are_drawn_evenly() -> None:
    places = sample_places({"layer": torch.zeros(1, 1000)}, n_rows=500, seed=0)["layer"]
    assert 0.4 < float((places < 500).float().mean()) < 0.6


def test_places_follow_the_seed() -> None:
    first, same, other = (sample_places({"layer": noise(2, 99)}, n_rows=20, seed=seed)["layer"] for seed in (0, 0, 1))
    assert torch.equal(first, same)
    assert not torch.equal(first, other)


@torch.no_grad()
def test_covariances_are_of_what_each_layer_reads_at_its_places() -> None:
    parent, images = chain(), noise(4, 3, 16, 16)
    places = {**all_places(parent, images), "first": torch.tensor([1, 9, 77, 255])}
    found = covariances(parent, images, places)
    assert set(found) == {"first", "second", "last"}
    read = inputs_at(images, parent.first, places["first"])  # (4, 27)
    torch.testing.assert_close(found["first"].matrix, torch.cov(read.T, correction=0))
    activations = parent.first(images).relu().transpose(0, 1).flatten(1)  # (6, all places)
    torch.testing.assert_close(found["second"].matrix, torch.cov(activations, correction=0))
    torch.testing.assert_close(found["second"].mean, activations.mean(1))
    assert not any(layer._forward_pre_hooks for layer in parent.modules())


def test_only_layers_with_places_are_looked_at() -> None:
    assert set(covariances(chain(), noise(1, 3, 16, 16), {"last": torch.tensor([3])})) == {"last"}


def test_kept_columns_are_those_of_the_channels_at_every_kernel_place() -> None:
    layer = nn.Conv2d(4, 2, (1, 2))
    columns = kept_columns(layer, np.array([1, 3]))
    assert columns is not None
    assert columns.tolist() == [1, 3, 5, 7]  # kernel place times 4 plus channel
    assert kept_columns(layer, np.arange(4)) is None
    assert kept_columns(layer, None) is None


def test_places_move_with_the_image() -> None:
    corner, last, second_image = 0, 99, 100 + 55  # of 10 x 10
    moved = move_places(np.array([corner, last, second_image]), before=100, after=25)
    assert moved.tolist() == [0, 24, 25 + 2 * 5 + 2]
    assert move_places(np.arange(100), before=100, after=100).tolist() == list(range(100))
    assert move_places(np.array([1, 3, 7]), before=4, after=2).tolist() == [0, 1, 3]  # no squares: lines


def test_places_are_counted_at_any_image_size() -> None:
    network = chain()
    names = [name for name, layer in network.named_modules() if isinstance(layer, nn.Conv2d)]
    at_8, at_16 = (count_places(network, names, imgsz=imgsz) for imgsz in (8, 16))
    assert at_8.keys() == at_16.keys() == set(names)
    assert all(at_16[name] == 4 * at_8[name] for name in names)
