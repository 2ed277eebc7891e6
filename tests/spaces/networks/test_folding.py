import copy

import pytest
import torch
from torch import Tensor, nn
from ultralytics.nn.tasks import DetectionModel

from leaderboards.benchmarks.cuts.networks import untrained
from spaces.networks.autocast import products_in
from spaces.networks.compute_dtype import ComputeDtype
from spaces.networks.folding import fold_bn, keep_outputs_exact_


@pytest.fixture(scope="module", params=["yolov5n", "yolov8n", "yolov10n", "yolo11n"])
def model(request: pytest.FixtureRequest) -> DetectionModel:
    return untrained(request.param)


def raw_scores(model: nn.Module, images: Tensor) -> Tensor:
    """Return the class scores (B, classes, anchors) before the sigmoid; an end-to-end head has two sets."""
    with torch.no_grad():
        raw = model(images)[1]
    scores = raw["scores"] if "scores" in raw else raw["one2one"]["scores"]
    assert isinstance(scores, Tensor)
    return scores


def test_folded_network_computes_the_same(model: DetectionModel) -> None:
    precise = copy.deepcopy(model).double()
    images = torch.rand(2, 3, 64, 64, dtype=torch.float64)
    expected, found = raw_scores(precise, images), raw_scores(fold_bn(precise), images)
    assert expected.abs().max() > 1
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-10)
    assert not any(isinstance(layer, nn.BatchNorm2d) for layer in fold_bn(model).modules())


def test_the_network_itself_is_left_as_it_was(model: DetectionModel) -> None:
    model.train()
    model.model[1].eval()
    tensors = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    modes = [module.training for module in model.modules()]
    kinds = [type(module) for module in model.modules()]
    with torch.no_grad():
        fold_bn(model)(torch.rand(1, 3, 64, 64))
    assert [module.training for module in model.modules()] == modes
    assert [type(module) for module in model.modules()] == kinds
    assert all(torch.equal(tensor, tensors[name]) for name, tensor in model.state_dict().items())
    assert all(parameter.requires_grad for name, parameter in model.named_parameters() if "dfl" not in name)
    model.eval()


def test_untouched_tensors_are_shared_not_copied(model: DetectionModel) -> None:
    folded = dict(fold_bn(model).named_parameters())
    own = {name: tensor for name, tensor in model.named_parameters() if name.endswith("dfl.conv.weight")}
    assert own
    assert all(folded[name].data_ptr() == tensor.data_ptr() for name, tensor in own.items())


def test_exact_outputs_bring_a_pass_in_bfloat16_nearer_to_float32(model: DetectionModel) -> None:
    images = torch.rand(2, 3, 64, 64)
    expected, rounded, exact = raw_scores(fold_bn(model), images), fold_bn(model), fold_bn(model)
    keep_outputs_exact_(exact)
    with products_in(ComputeDtype.BFLOAT16):
        errors = [(raw_scores(network, images).float() - expected).abs().mean() for network in (rounded, exact)]
        assert raw_scores(rounded, images).dtype == torch.bfloat16
        assert raw_scores(exact, images).dtype == torch.float32
    assert 0 < errors[1] < errors[0]
