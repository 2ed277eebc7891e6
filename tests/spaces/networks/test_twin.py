import torch
from torch import nn
from ultralytics.nn.modules.conv import Conv

from spaces.networks.twin import twin
from tests.spaces.untrained import detector


def test_a_twin_holds_the_same_tensors_and_answers_the_same() -> None:
    copied = twin(detector())
    own = {name: tensor.data_ptr() for name, tensor in detector().state_dict().items()}
    assert {name: tensor.data_ptr() for name, tensor in copied.state_dict().items()} == own
    images = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        assert torch.equal(copied(images)[0], detector()(images)[0])


def test_what_is_replaced_in_a_twin_stays_in_the_original() -> None:
    first = nn.Conv2d(3, 4, 1)
    original = nn.Sequential(first, nn.BatchNorm2d(4))
    copied = twin(original)
    copied[0].weight = nn.Parameter(torch.zeros(4, 3, 1, 1))
    copied[1] = nn.Identity()
    copied[0].register_forward_hook(lambda *_: None)
    copied.eval()
    assert first.weight.abs().sum() > 0
    assert original[0] is first
    assert isinstance(original[1], nn.BatchNorm2d)
    assert not original[0]._forward_hooks
    assert original.training
    assert original[0].training


def test_a_layer_that_is_used_twice_is_one_layer_in_the_twin() -> None:
    layer = nn.ReLU()
    first, inner = twin(nn.Sequential(layer, nn.Sequential(layer)))
    assert isinstance(inner, nn.Sequential)
    assert inner[0] is first
    assert first is not layer


def test_the_description_of_a_detector_is_its_own() -> None:
    copied = twin(detector())
    copied.yaml["backbone"][0][1] = 7
    copied.names[0] = "changed"
    assert detector().yaml["backbone"][0][1] == 1
    assert detector().names[0] == "class 0"


def test_a_method_that_a_layer_was_given_is_the_twins_own() -> None:
    block = Conv(3, 4).eval()
    block.forward = block.forward_fuse
    del block.bn
    copied = twin(block)
    copied.conv.weight = nn.Parameter(torch.zeros(4, 3, 1, 1))
    assert not copied(torch.ones(1, 3, 2, 2)).any()
    assert block(torch.ones(1, 3, 2, 2)).any()
