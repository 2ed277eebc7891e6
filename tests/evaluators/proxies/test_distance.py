from functools import cache

import numpy as np
import pytest
import torch

from evaluators.proxies.distance import distances, feature_distance
from evaluators.proxies.distill import distillation_loss
from spaces.build import Builder, Subnet
from spaces.channels.trace import trace_channels
from spaces.importance.by_name import Importance
from spaces.recovery.recovery import Recovery
from spaces.space import Space
from spaces.study import study_parent
from tests.evaluators.parts import builder, images, uniform
from tests.spaces.chain import noise
from tests.spaces.detectors.yolov5.tiny import tiny
from tests.spaces.untrained import detector

IMAGES = images(n_boxes=0)  # no labels


def read(share: float, recovery: Recovery, own: Builder | None = None) -> tuple[float, float]:
    readings = distances(IMAGES, recovery, ("features", "outputs"))(Subnet(uniform(share), own or builder()))
    return readings["features"], readings["outputs"]


def test_features_are_compared_on_the_channels_that_stay() -> None:
    whole = [noise(2, 4, 3, 3), noise(2, 2, 1, 1, seed=1)]
    kept = [np.array([0, 2]), None]
    own = [whole[0][:, [0, 2]] * 1.5, whole[1] * 0.5]
    # |1.5 f - f|^2 / |f|^2 = .25 of both
    assert feature_distance(own, whole, kept) == pytest.approx(0.25)
    assert feature_distance([whole[0][:, [0, 2]], whole[1]], whole, kept) == 0


def test_the_parent_is_at_no_distance_from_itself() -> None:
    assert read(1.0, Recovery.NOTHING) == pytest.approx((0.0, 0.0), abs=1e-6)


def test_a_reconstructed_network_is_closer_to_the_parent_than_one_that_was_only_cut() -> None:
    cut, once = read(0.7, Recovery.NOTHING), read(0.7, Recovery.ONE_SHOT)
    assert once[0] < cut[0]


@torch.no_grad()
def test_both_distances_are_those_of_the_networks_own_outputs() -> None:
    subnet = Subnet(uniform(0.7), builder())
    own, parent = (model(IMAGES.tensor())[1] for model in (subnet.network(Recovery.ONE_SHOT), builder().parent))
    names = {block.name: index for index, block in enumerate(builder().graph.blocks)}
    chosen = builder().chosen(subnet.candidate)
    stays = [chosen[names[f"{layer}.cv3"]] for layer in (17, 20, 23)]  # what the head of a yolov5 reads
    shares = [
        float((a - b[:, torch.from_numpy(index)]).square().sum() / b[:, torch.from_numpy(index)].square().sum())
        for a, b, index in zip(own["feats"], parent["feats"], stays, strict=True)
    ]
    expected = float(np.mean(shares)), float(distillation_loss(own, parent))
    assert read(0.7, Recovery.ONE_SHOT) == pytest.approx(expected, rel=1e-3)


@cache
def with_anchors() -> Builder:
    """Return the builder of a tiny anchor-based detector."""
    model = tiny("yolov5n")
    graph, calibration = trace_channels(model, imgsz=64), noise(6, 3, 64, 64)
    study = study_parent(model, graph, calibration, importance=Importance.GREEDY, seed=0)
    return Builder(model, graph, Space(graph), images=calibration, study=study)


@torch.no_grad()
def test_the_distances_of_an_anchor_based_detector_are_those_of_its_own_outputs() -> None:
    own = with_anchors()
    subnet = Subnet(own.space.narrowest, own)
    raw, parent = (model(IMAGES.tensor())[1] for model in (subnet.network(Recovery.ONE_SHOT), own.parent))
    names = {block.name: index for index, block in enumerate(own.graph.blocks)}
    chosen = own.chosen(subnet.candidate)
    maps = zip(raw["feats"], parent["feats"], (17, 20, 23), strict=True)
    shares = [
        float((a - b[:, stays]).square().sum() / b[:, stays].square().sum())
        for a, b, stays in ((a, b, torch.from_numpy(chosen[names[f"{layer}.cv3"]])) for a, b, layer in maps)
    ]
    readings = distances(IMAGES, Recovery.ONE_SHOT, ("features", "outputs"))(subnet)
    assert readings["features"] == pytest.approx(np.mean(shares), rel=1e-3)
    assert readings["outputs"] == pytest.approx(float(distillation_loss(raw, parent)), rel=1e-3)
    assert readings["features"] > 0


def test_measuring_leaves_the_parent_as_it_was() -> None:
    before = {name: tensor.clone() for name, tensor in detector().state_dict().items()}
    read(0.5, Recovery.NOTHING)
    assert all(torch.equal(tensor, before[name]) for name, tensor in builder().parent.state_dict().items())
