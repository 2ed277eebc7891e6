import numpy as np
import pytest
import torch
from torch import nn

from spaces.build import Builder, Recovery
from spaces.calibration import calibrate_bn_
from spaces.channels import trace_channels
from spaces.space import Space
from tests.spaces.networks import detector

GRAPH = trace_channels(detector(), imgsz=64)
SPACE = Space(GRAPH)


def build(recovery: Recovery, *, share: float) -> nn.Module:
    images = torch.rand(8, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    candidate = SPACE.sample(np.random.default_rng(0), limits={"macs_g": share * SPACE.reach()["macs_g"][1]})
    model: nn.Module = Builder(detector(), GRAPH, SPACE, images=images, recovery=recovery)(candidate)
    return model


def distance(model: nn.Module) -> float:
    """Return how far the class scores are from the parent's on the calibration images, relative to their variance.

    On unseen noise an untrained parent's own scores say nothing; the benchmarks measure real detectors on real images.
    """
    images = torch.rand(8, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        raw, expected = model(images)[1]["scores"], detector()(images)[1]["scores"]
    return float((raw - expected).pow(2).mean() / expected.var())


def test_reconstruction_comes_closer_to_the_parent_than_calibration_and_that_closer_than_nothing() -> None:
    nothing, calibrated, reconstructed = (
        distance(build(recovery, share=0.7))
        for recovery in (Recovery.NOTHING, Recovery.ADAPTIVE_BN, Recovery.RECONSTRUCT)
    )
    assert reconstructed < calibrated < nothing


@pytest.mark.parametrize("recovery", list(Recovery))
def test_building_leaves_the_parent_untouched(recovery: Recovery) -> None:
    before = {name: tensor.clone() for name, tensor in detector().state_dict().items()}
    build(recovery, share=0.6)
    assert all(torch.equal(tensor, before[name]) for name, tensor in detector().state_dict().items())


def test_the_parent_itself_is_built_unchanged() -> None:
    images = torch.rand(4, 3, 64, 64)
    model = Builder(detector(), GRAPH, SPACE, images=images, recovery=Recovery.RECONSTRUCT)(SPACE.parent)
    assert all(torch.equal(model.state_dict()[name], tensor) for name, tensor in detector().state_dict().items())


def test_calibrated_statistics_are_the_mean_over_the_batches_and_nothing_of_before() -> None:
    layer = nn.BatchNorm2d(2)
    assert layer.running_mean is not None
    layer.running_mean.fill_(100.0)
    batches = [torch.full((2, 2, 4, 4), value) + torch.arange(2.0)[:, None, None, None] for value in (1.0, 3.0)]
    calibrate_bn_(layer.eval(), batches)
    assert layer.running_mean.tolist() == [2.5, 2.5]  # ((1 + 2) / 2 + (3 + 4) / 2) / 2
    assert layer.momentum == 0.1
    assert not layer.training


def test_calibration_without_images_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one batch"):
        calibrate_bn_(nn.BatchNorm2d(2), [])
