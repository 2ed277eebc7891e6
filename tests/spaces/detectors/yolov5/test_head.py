import io
import math
import warnings

import onnxruntime
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from spaces.detectors.yolov5.head import AnchorDetect

ANCHORS = ((10, 13, 16, 30), (30, 61, 62, 45))
CHANNELS, STRIDES = (3, 4), (8, 16)


def head(n_classes: int = 3) -> AnchorDetect:
    """Return a head of two levels with two shapes each and random weights, in eval mode."""
    torch.manual_seed(0)
    made = AnchorDetect(n_classes, ANCHORS, CHANNELS)
    made.set_strides_(STRIDES)
    return made.eval()


def maps(n_images: int = 2, *, height: int = 64, width: int = 32) -> list[Tensor]:
    generator = torch.Generator().manual_seed(1)
    sizes = zip(CHANNELS, STRIDES, strict=True)
    return [torch.randn(n_images, c, height // s, width // s, generator=generator) for c, s in sizes]


class Network(nn.Module):
    """A head on maps that are made of an image."""

    def __init__(self) -> None:
        super().__init__()
        self.head = head()

    def forward(self, image: Tensor) -> object:
        return self.head(
            [functional.avg_pool2d(image, s).repeat(1, c, 1, 1) for c, s in zip(CHANNELS, STRIDES, strict=True)]
        )


def sigmoid(value: Tensor) -> float:
    return 1 / (1 + math.exp(-value.item()))


@torch.no_grad()
def test_boxes_are_those_of_the_definition_level_by_level_shape_by_shape_row_by_row() -> None:
    decoded, raw = head()(maps())
    anchor = 0
    for level, stride in enumerate(STRIDES):
        outputs = head().m[level](maps()[level])[1]  # of the second image, (2 * 8, H, W)
        for shape in range(2):
            wide, high = ANCHORS[level][2 * shape : 2 * shape + 2]
            for y in range(outputs.shape[1]):
                for x in range(outputs.shape[2]):
                    o = outputs[8 * shape : 8 * shape + 8, y, x]  # x, y, w, h, objectness, classes
                    expected = [
                        (2 * sigmoid(o[0]) - 0.5 + x) * stride,
                        (2 * sigmoid(o[1]) - 0.5 + y) * stride,
                        (2 * sigmoid(o[2])) ** 2 * wide,
                        (2 * sigmoid(o[3])) ** 2 * high,
                        *(sigmoid(o[4]) * sigmoid(kind) for kind in o[5:]),
                    ]
                    assert decoded[1, :, anchor].tolist() == pytest.approx(expected, rel=1e-4, abs=1e-5)
                    for name, part in (("boxes", o[:4]), ("objectness", o[4:5]), ("scores", o[5:])):
                        assert torch.allclose(raw[name][1, :, anchor], part)
                    anchor += 1
    assert decoded.shape == (2, 4 + 3, anchor)


def test_tensors_have_the_names_of_the_original() -> None:
    shapes = {name: tuple(value.shape) for name, value in head().state_dict().items()}
    assert shapes == {
        "anchors": (2, 2, 2),
        "m.0.weight": (16, 3, 1, 1),
        "m.0.bias": (16,),
        "m.1.weight": (16, 4, 1, 1),
        "m.1.bias": (16,),
    }
    assert head().anchors[1].tolist() == [[30 / 16, 61 / 16], [62 / 16, 45 / 16]]


def test_training_gives_the_raw_outputs_and_an_exported_head_the_decoded_ones() -> None:
    one = head()
    decoded, raw = one(maps())
    trained = one.train()(maps())
    assert isinstance(trained, dict)
    assert all(torch.equal(trained[name], raw[name]) for name in ("boxes", "objectness", "scores"))
    one.eval().export = True
    assert torch.equal(one(maps()), decoded)


def test_layout_in_memory_does_not_matter() -> None:
    wide = [level.to(memory_format=torch.channels_last) for level in maps()]
    assert torch.allclose(head()(wide)[0], head()(maps())[0], atol=1e-5)


def test_network_exports_with_fixed_grids() -> None:
    network, image = Network().eval(), torch.rand(1, 1, 64, 64)
    expected = network(image)[0]
    program = torch.export.export(network, (image,), strict=False)
    assert torch.allclose(program.module()(image)[0], expected, atol=1e-5)
    network.head.export, file = True, io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(network, (image,), file, opset_version=18, dynamo=False, input_names=["image"])  # type: ignore[arg-type]
    session = onnxruntime.InferenceSession(file.getvalue(), providers=["CPUExecutionProvider"])
    (found,) = session.run(None, {"image": image.numpy()})
    assert torch.allclose(torch.from_numpy(found), expected, rtol=1e-4, atol=1e-4)


@torch.no_grad()
def test_boxes_are_placed_exactly_though_the_maps_are_coarse() -> None:
    """In bfloat16 alone the places from 64 on would be half a place apart."""
    wide = maps(1, height=64, width=1280)
    exact = head()(wide)[0]
    with torch.autocast("cpu", torch.bfloat16):
        coarse = head()(wide)[0]
    assert (coarse - exact)[:, :2].abs().max() < 0.02 * max(STRIDES)
