import numpy as np
import pytest
import torch
from torch import nn

from spaces.channels import trace_channels
from spaces.probe import cut_error, probe
from tests.spaces.networks import detector


@pytest.mark.parametrize("name", ["yolov5n", "yolov8n", "yolo11n"])
def test_every_block_cut_by_half_equals_the_masked_parent(name: str) -> None:
    model = detector(name)
    graph = probe(model, trace_channels(model, imgsz=64), rng=np.random.default_rng(0))
    sizes = np.array([block.size for block in graph.blocks])
    assert len(sizes) >= 50
    for index in range(len(sizes)):
        keep = sizes.copy()
        keep[index] //= 2
        assert cut_error(model, graph, keep) < 1e-4, graph.blocks[index].name


def test_what_cannot_be_cut_is_kept_whole_with_a_reason() -> None:
    model = detector("yolo11n")
    graph = probe(model, trace_channels(model, imgsz=64), rng=np.random.default_rng(0))
    assert "the cut network fails" in graph.kept_whole["10.cv1"]  # the attention's input is reshaped to its heads
    assert graph.kept_whole["23.dfl"] == "read by view"
    assert "10.cv1" not in {block.name for block in graph.blocks}


def test_halves_of_a_chunk_are_one_block_of_two_parts() -> None:
    blocks = {block.name: block for block in trace_channels(detector("yolov8n"), imgsz=64).blocks}
    assert (blocks["2.cv1"].size, blocks["2.cv1"].parts) == (16, 2)


def test_residual_sums_are_one_block() -> None:
    graph = trace_channels(detector(), imgsz=64)
    names = [block.name for block in graph.blocks]
    residual = names.index("4.cv1")  # its output is added to that of 4.m.0.cv2 and 4.m.1.cv2
    assert "4.m.0.cv2" not in names
    for tensor in ("model.4.cv1.conv.weight", "model.4.m.0.cv2.conv.weight", "model.4.m.1.cv2.conv.weight"):
        assert (graph.axes[tensor, 0].blocks == residual).all()


def test_tracing_leaves_the_model_as_it_was() -> None:
    model = detector()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    image = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        expected = model(image)[0]
        trace_channels(model, imgsz=64)
        assert torch.equal(model(image)[0], expected)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


class Toy(nn.Module):
    """A detector-shaped network with a grouped, a depthwise and a twice used convolution."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 16, 3, padding=1)
        self.depthwise = nn.Conv2d(16, 16, 3, padding=1, groups=16)
        self.twice = nn.Conv2d(16, 16, 1)
        self.grouped = nn.Conv2d(16, 16, 1, groups=4)
        self.last = nn.Conv2d(16, 8, 1)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        x = self.twice(self.twice(self.depthwise(self.first(x)).relu()))
        y = self.last(self.grouped(x))
        return y, {"boxes": y, "scores": y}


def test_a_twice_used_layer_joins_what_it_reads_and_makes() -> None:
    model = Toy().eval()
    graph = trace_channels(model, imgsz=32)
    assert graph.blocks == ()  # first, depthwise and twice are one, and a grouped convolution reads it
    assert graph.kept_whole["first"] == "read by a grouped convolution"
    assert graph.other_macs == 0
