from functools import cache

import numpy as np
import pytest
import torch
from torch import nn

from spaces.build import Builder, Subnet
from spaces.importance.by_name import Importance
from spaces.recovery.recovery import Recovery
from spaces.space import Space
from spaces.study import study_parent
from tests.spaces.chain import noise
from tests.spaces.untrained import detector, graph_of

GRAPH = graph_of()
SPACE = Space(GRAPH)
IMAGES = noise(8, 3, 64, 64)


@cache
def builder() -> Builder:
    study = study_parent(detector(), GRAPH, IMAGES, importance=Importance.L1, seed=0)
    return Builder(detector(), GRAPH, SPACE, images=IMAGES, study=study)


def build(recovery: Recovery, *, share: float) -> nn.Module:
    limits = {"macs_g": share * SPACE.reach()["macs_g"][1]}
    model: nn.Module = builder()(SPACE.sample(np.random.default_rng(0), limits=limits), recovery)
    return model


def distance(model: nn.Module) -> float:
    """Return how far the class scores are from the parent's on the calibration images, relative to their variance.

    On unseen noise an untrained parent's own scores say nothing; the benchmarks measure real detectors on real images.
    """
    with torch.no_grad():
        raw, expected = model(IMAGES)[1]["scores"], detector()(IMAGES)[1]["scores"]
    return float((raw - expected).pow(2).mean() / expected.var())


def test_each_recovery_comes_closer_to_the_parent_than_the_cheaper_one_before_it() -> None:
    distances = [distance(build(recovery, share=0.7)) for recovery in Recovery]
    assert distances == sorted(distances, reverse=True)


@pytest.mark.parametrize("recovery", list(Recovery))
def test_building_leaves_the_parent_untouched(recovery: Recovery) -> None:
    before = {name: tensor.clone() for name, tensor in detector().state_dict().items()}
    build(recovery, share=0.6)
    assert all(torch.equal(tensor, before[name]) for name, tensor in detector().state_dict().items())


def test_the_parent_itself_is_built_unchanged() -> None:
    model = builder()(SPACE.parent, Recovery.RECONSTRUCT)
    assert all(torch.equal(model.state_dict()[name], tensor) for name, tensor in detector().state_dict().items())


def test_a_subnet_is_built_once_for_each_recovery() -> None:
    candidate = SPACE.sample(np.random.default_rng(1), limits={})
    subnet = Subnet(candidate, builder())
    assert subnet.network(Recovery.NOTHING) is subnet.network(Recovery.NOTHING)
    assert subnet.network(Recovery.NOTHING) is not subnet.network(Recovery.ADAPTIVE_BN)
