from dataclasses import replace

import numpy as np
import pytest
import torch

from evaluators.measure import Evaluator
from evaluators.proxies.closed_form import block_loss, kept_mass, mean_share, reconstruction_loss, total_share
from spaces.activations.covariance import RIDGE, Covariance
from spaces.activations.patches import fitted_layers, weight_matrix
from spaces.build import Builder, Subnet
from spaces.cutting.subnet import kept_indices
from spaces.importance.by_name import Importance
from spaces.importance.scoring import score_channels
from spaces.recovery.recovery import Recovery
from spaces.study import block_losses
from tests.evaluators.parts import builder, images, uniform
from tests.spaces.chain import noise

NO_IMAGES = images(n_boxes=0)  # arithmetic looks at none


def subnet(share: float) -> Subnet:
    return Subnet(uniform(share), builder())


def test_a_layers_loss_is_what_its_refitted_weights_leave_unexplained() -> None:
    rows, weights, columns = noise(50, 7).double(), noise(7, 3, seed=1).double(), torch.tensor([0, 2, 3, 6])
    centred = rows - rows.mean(0)
    covariance = Covariance(centred.T @ centred / 50, rows.mean(0))
    # least squares with the ridge as extra rows: |x w - y|^2 / 50 + r |w - w0|^2, in the differences from w0
    damping = float(RIDGE * covariance.matrix.diagonal().mean() + 1e-6)
    x, missing = centred[:, columns], centred @ weights - centred[:, columns] @ weights[columns]
    left = torch.cat([x / 50**0.5, damping**0.5 * torch.eye(4, dtype=torch.float64)])
    right = torch.cat([missing / 50**0.5, torch.zeros(4, 3, dtype=torch.float64)])
    shift = torch.linalg.lstsq(left, right).solution
    expected = (missing - x @ shift).square().mean(0)
    assert covariance.loss(weights, columns).tolist() == pytest.approx(expected.tolist(), rel=1e-6)


def test_the_reconstruction_loss_is_the_sum_over_layers_of_what_fitting_them_would_leave() -> None:
    part, study = subnet(0.5), builder().study
    kept = kept_indices(builder().graph, builder().chosen(part.candidate))
    expected = 0.0
    for name, layer in fitted_layers(builder().parent).items():
        weights = weight_matrix(layer).detach()
        channels, made = (kept.get((f"{name}.weight", dimension)) for dimension in (1, 0))
        if channels is None:
            continue
        of_channel = np.arange(len(weights)) % layer.weight.shape[1]  # columns go by kernel position, then channel
        columns = torch.from_numpy(np.flatnonzero(np.isin(of_channel, channels)))
        fitted, _ = builder().covariances[name].fit(weights, columns)
        error = weights.clone()
        error[columns] -= fitted
        left = np.diag(error.T.numpy() @ builder().covariances[name].matrix.numpy() @ error.numpy())
        index = np.arange(weights.shape[1]) if made is None else made
        expected += float(left[index] @ study.sensitivity[name][index])
    assert reconstruction_loss(NO_IMAGES, Recovery.NOTHING)(part)["reconstruction_loss"] == pytest.approx(
        expected, rel=1e-3
    )


def test_a_layer_of_which_nothing_is_known_loses_nothing() -> None:
    part, whole = subnet(0.5), reconstruction_loss(NO_IMAGES, Recovery.NOTHING)(subnet(0.5))["reconstruction_loss"]
    name = next(name for name in part.builder.study.places if (f"{name}.weight", 1) in part.builder.graph.axes)
    places = {each: index for each, index in part.builder.study.places.items() if each != name}
    study = replace(part.builder.study, places=places)
    blind = Builder(
        part.builder.parent, part.builder.graph, part.builder.space, images=part.builder.images, study=study
    )
    assert (
        0
        < reconstruction_loss(NO_IMAGES, Recovery.NOTHING)(Subnet(part.candidate, blind))["reconstruction_loss"]
        < whole
    )


def test_block_losses_add_up_what_each_block_loses() -> None:
    study, space = builder().study, builder().space
    rng = np.random.default_rng(0)
    keep = np.stack([[rng.choice(gene.options) for gene in space.genes] for _ in range(5)])
    naive = [sum(losses[len(losses) - 1 - k] for losses, k in zip(study.losses, row, strict=True)) for row in keep]
    assert block_losses(study, keep).tolist() == pytest.approx(naive)
    assert block_loss(NO_IMAGES, Recovery.NOTHING)(Subnet(space.encode(keep[2]), builder())) == {
        "block_loss": pytest.approx(naive[2])
    }


def test_the_kept_mass_is_the_share_of_the_scores_that_stay() -> None:
    scores = score_channels(builder().parent, builder().graph, builder().images, importance=Importance.L1, seed=0)
    chosen = builder().chosen(uniform(0.5))
    shares = [score[stays].sum() / score.sum() for score, stays in zip(scores, chosen, strict=True)]
    kept = sum(score[stays].sum() for score, stays in zip(scores, chosen, strict=True))
    assert kept_mass("kept_l1", Importance.L1, mean_share)(subnet(0.5))["kept_l1"] == pytest.approx(np.mean(shares))
    total = kept / sum(score.sum() for score in scores)
    assert kept_mass("kept_l1", Importance.L1, total_share)(subnet(0.5))["kept_l1"] == pytest.approx(total)


@pytest.mark.parametrize(
    ("evaluate", "name", "whole"),
    [
        (block_loss(NO_IMAGES, Recovery.NOTHING), "block_loss", 0.0),
        (reconstruction_loss(NO_IMAGES, Recovery.NOTHING), "reconstruction_loss", 0.0),
        (kept_mass("kept_contribution", Importance.CONTRIBUTION, mean_share), "kept_contribution", 1.0),
        (kept_mass("kept_taylor", Importance.TAYLOR, total_share), "kept_taylor", 1.0),
        (kept_mass("kept_fisher", Importance.FISHER, total_share), "kept_fisher", 1.0),
    ],
)
def test_nothing_is_lost_of_the_parent_and_more_the_more_is_cut(evaluate: Evaluator, name: str, whole: float) -> None:
    readings = [evaluate(subnet(share))[name] for share in (1.0, 0.8, 0.5, 0.3)]
    assert readings[0] == pytest.approx(whole)
    distances = [abs(reading - whole) for reading in readings]
    assert distances == sorted(distances)
    assert distances[1] > 0
