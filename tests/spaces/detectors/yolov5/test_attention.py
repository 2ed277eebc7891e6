import torch

from spaces.detectors.yolov5.attention import CBAM, TransformerBlock, TransformerLayer, c3tr


def test_cbam_scales_channels_first_and_places_then() -> None:
    torch.manual_seed(0)
    layer, x = CBAM(32), torch.randn(2, 32, 5, 4)
    w1, w2 = layer.channels[0].weight.flatten(1), layer.channels[2].weight.flatten(1)  # type: ignore[operator]

    def told(summary: torch.Tensor) -> torch.Tensor:
        return (summary @ w1.T).clamp_min(0) @ w2.T

    gate = 1 / (1 + (-told(x.mean((2, 3))) - told(x.flatten(2).max(2).values)).exp())
    y = x * gate[:, :, None, None]
    summary = torch.stack([y.mean(1), y.max(1).values], 1)
    places = torch.nn.functional.conv2d(summary, layer.places.weight, padding=3).sigmoid()
    assert torch.allclose(layer(x), y * places, atol=1e-6)


def test_a_transformer_block_sees_the_whole_map_and_no_other_image() -> None:
    torch.manual_seed(0)
    block, x = TransformerBlock(8, 2).eval(), torch.randn(2, 8, 3, 4, requires_grad=True)
    made = block(x)
    assert made.shape == x.shape
    (slope,) = torch.autograd.grad(made[0, :, 0, 0].sum(), x)
    assert (slope[0].abs().sum(0) > 0).all()
    assert (slope[1] == 0).all()


def test_the_order_of_places_is_kept() -> None:
    """Without attention between them, a place's output depends on its own input: silence the values."""
    block = TransformerBlock(8, 1).eval()
    layer = block.layers[0]
    assert isinstance(layer, TransformerLayer)
    torch.nn.init.zeros_(layer.v.weight)
    x = torch.randn(1, 8, 3, 4, requires_grad=True)
    (slope,) = torch.autograd.grad(block(x)[0, :, 1, 3].sum(), x)
    assert torch.nonzero(slope[0].abs().sum(0)).tolist() == [[1, 3]]


def test_dropout_is_for_training_only() -> None:
    torch.manual_seed(0)
    stage, x = c3tr(8, 16, 1), torch.randn(2, 8, 4, 4)
    with torch.no_grad():
        assert not torch.equal(stage.train().m(torch.ones(1, 8, 2, 2)), stage.m(torch.ones(1, 8, 2, 2)))
        assert torch.equal(stage.eval()(x), stage(x))
