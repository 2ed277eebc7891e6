import pytest
import torch
from torch import nn

from spaces.detectors.yolov5.layers import (
    ConvMaxPool,
    DepthSepConv,
    GhostBottleneck,
    GhostConv,
    MBConv,
    MobileUnit,
    ShuffleUnit,
    SqueezeExcite,
    activated_conv,
    bottleneck,
    sppf,
)

X = torch.randn(2, 16, 8, 8, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (GhostBottleneck(16, 16, 24, 1, True), (2, 16, 8, 8)),
        (GhostBottleneck(16, 24, 48, 2, False), (2, 24, 4, 4)),
        (ShuffleUnit(16, 16, 1), (2, 16, 8, 8)),
        (ShuffleUnit(16, 24, 2), (2, 24, 4, 4)),
        (ConvMaxPool(16, 24), (2, 24, 2, 2)),
        (MobileUnit(16, 16, 48, 5, 1, True, "hardswish"), (2, 16, 8, 8)),
        (MobileUnit(16, 24, 16, 3, 2, False, "relu"), (2, 24, 4, 4)),
        (MBConv(16, 16, 5, 1, 6), (2, 16, 8, 8)),
        (MBConv(16, 24, 3, 2, 1, True), (2, 24, 4, 4)),
        (DepthSepConv(16, 32, 5, 2, True), (2, 32, 4, 4)),
        (activated_conv(16, 8, 3, 2, "relu6"), (2, 8, 4, 4)),
        (sppf(16, 32), (2, 32, 8, 8)),
        (bottleneck(16, 16), (2, 16, 8, 8)),
    ],
)
def test_layers_make_maps_of_their_width_and_stride(layer: nn.Module, shape: tuple[int, ...]) -> None:
    with torch.no_grad():
        assert layer.eval()(X).shape == shape


def test_a_gate_multiplies_each_channel_by_what_the_means_say() -> None:
    gate = SqueezeExcite(16, 4)
    means = X.mean((2, 3))
    assert gate.squeeze.bias is not None
    assert gate.excite.bias is not None
    hidden = (means @ gate.squeeze.weight.flatten(1).T + gate.squeeze.bias).clamp_min(0)
    factor = (hidden @ gate.excite.weight.flatten(1).T + gate.excite.bias).sigmoid()
    assert torch.allclose(gate(X), X * factor[:, :, None, None], atol=1e-6)


def test_the_second_half_of_a_ghost_is_made_of_the_first() -> None:
    layer = GhostConv(16, 8, act=True).eval()
    with torch.no_grad():
        made = layer(X)
        assert torch.equal(made[:, 4:], layer.cheap(made[:, :4]))


def test_a_shuffle_unit_passes_half_of_its_channels_on_to_the_even_places() -> None:
    unit = ShuffleUnit(16, 16, 1).eval()
    with torch.no_grad():
        made = unit(X)
        assert torch.equal(made[:, ::2], X[:, :8])
        assert torch.equal(made[:, 1::2], unit.branch(X[:, 8:]))


def test_a_shuffle_unit_of_stride_1_cannot_change_its_width() -> None:
    with pytest.raises(ValueError, match="must keep its width, got 16 and 24"):
        ShuffleUnit(16, 24, 1)


@pytest.mark.parametrize(("widths", "is_residual"), [((16, 16), True), ((16, 24), False)])
def test_inverted_residuals_add_their_input_where_shapes_agree(widths: tuple[int, int], is_residual: bool) -> None:
    for layer in (MobileUnit(*widths, 48, 3, 1, False, "relu"), MBConv(*widths, 3, 1, 6)):
        layer.eval()
        with torch.no_grad():
            expected = layer.branch(X) + (X if is_residual else 0)
            assert torch.equal(layer(X), expected)


def test_a_mobile_gate_comes_before_the_second_activation_or_after_the_only_one() -> None:
    kinds = [type(layer).__name__ for layer in MobileUnit(16, 16, 48, 3, 1, True, "hardswish").branch]
    assert kinds == ["Conv", "Conv", "SqueezeExcite", "Hardswish", "Conv"]
    narrow = MobileUnit(16, 16, 16, 3, 1, True, "hardswish").branch
    assert [type(layer).__name__ for layer in narrow] == ["Conv", "SqueezeExcite", "Conv"]
    assert isinstance(narrow[0].act, nn.Hardswish)


def test_pooling_keeps_the_activation_that_ultralytics_took_away() -> None:
    assert isinstance(sppf(16, 32).cv1.act, nn.SiLU)


def test_the_bottleneck_is_1x1_then_3x3() -> None:
    layer = bottleneck(16, 32, False)
    assert [conv.conv.kernel_size for conv in (layer.cv1, layer.cv2)] == [(1, 1), (3, 3)]
    assert layer.cv1.conv.out_channels == 16
