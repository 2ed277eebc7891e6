import numpy as np
import pytest
import torch
from torch import nn

from spaces.channels.graph import ChannelGraph
from spaces.channels.trace import trace_channels
from spaces.cutting.probe import cut_error, probe
from tests.spaces.untrained import detector, graph_of


@pytest.mark.parametrize("name", ["yolov5n", "yolov8n", "yolo11n"])
def test_every_block_cut_by_half_equals_the_masked_parent(name: str) -> None:
    model = detector(name)
    graph = probe(model, graph_of(name), rng=np.random.default_rng(0))
    sizes = np.array([block.size for block in graph.blocks])
    assert len(sizes) >= 50
    for index in range(len(sizes)):
        keep = sizes.copy()
        keep[index] //= 2
        assert cut_error(model, graph, keep) < 1e-4, graph.blocks[index].name


def test_what_cannot_be_cut_is_kept_whole_with_a_reason() -> None:
    model = detector("yolo11n")
    graph = probe(model, graph_of("yolo11n"), rng=np.random.default_rng(0))
    assert "the cut network fails" in graph.kept_whole["10.cv1"]  # the attention's input is reshaped to its heads
    assert graph.kept_whole["23.dfl"] == "read by view"
    assert "10.cv1" not in {block.name for block in graph.blocks}


def test_halves_of_a_chunk_are_one_block_of_two_parts() -> None:
    blocks = {block.name: block for block in graph_of("yolov8n").blocks}
    assert (blocks["2.cv1"].size, blocks["2.cv1"].parts) == (16, 2)


def test_residual_sums_are_one_block() -> None:
    graph = graph_of()
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


class Between(nn.Module):
    """A detector-shaped network: a convolution makes 16 channels, `body` works on them, a convolution reads them."""

    def __init__(self, body: nn.Module) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 16, 3, stride=2, padding=1)
        self.body = body
        self.last = nn.Conv2d(16, 8, 1)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        y = self.last(self.body(self.first(x)))
        return y, {"boxes": y, "scores": y}


def traced(body: nn.Module) -> tuple[nn.Module, ChannelGraph]:
    torch.manual_seed(0)
    model = Between(body).eval()
    return model, trace_channels(model, imgsz=32)


def sizes_cut_exactly(body: nn.Module) -> dict[str, tuple[int, int]]:
    """Return size and parts of each block of a network that the probe takes as it was traced."""
    model, graph = traced(body)
    assert probe(model, graph, rng=np.random.default_rng(0)).blocks == graph.blocks
    assert cut_error(model, graph, np.array([max(1, block.size // 2) for block in graph.blocks])) < 1e-4
    return {block.name: (block.size, block.parts) for block in graph.blocks}


class Gate(nn.Module):
    """A squeeze and excitation whose means come from `pool`."""

    def __init__(self, pool: nn.Module) -> None:
        super().__init__()
        self.pool, self.squeeze, self.excite = pool, nn.Conv2d(16, 4, 1), nn.Conv2d(4, 16, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        gate: torch.Tensor = self.excite(self.squeeze(self.pool(x)).relu())
        scaled: torch.Tensor = x * nn.functional.hardsigmoid(gate)
        return scaled


class Mean(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.mean((-2, -1), keepdim=True)


class Largest(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.amax((2, 3), keepdim=True)


@pytest.mark.parametrize("pool", [nn.AdaptiveAvgPool2d(1), Mean(), Largest()])
def test_a_gate_is_cut_with_what_it_scales(pool: nn.Module) -> None:
    assert sizes_cut_exactly(Gate(pool)) == {"first": (16, 1), "body.squeeze": (4, 1)}


class Shuffle(nn.Module):
    def __init__(self, groups: int) -> None:
        super().__init__()
        self.groups = groups

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        batch, channels, height, width = x.shape
        split = x.view(batch, self.groups, channels // self.groups, height, width)
        return split.permute(0, 2, 1, 3, 4).contiguous().reshape(batch, -1, height, width)


@pytest.mark.parametrize(("groups", "size"), [(2, 8), (4, 4)])
def test_of_shuffled_channels_each_group_keeps_the_same(groups: int, size: int) -> None:
    assert sizes_cut_exactly(Shuffle(groups)) == {"first": (size, 1)}


class Halves(nn.Module):
    """Transforms the second half of the channels, and shuffles both halves of the result `n` times."""

    def __init__(self, n: int) -> None:
        super().__init__()
        self.inner = nn.ModuleList(nn.Conv2d(8, 8, 1) for _ in range(n))
        self.shuffle = Shuffle(2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for layer in self.inner:
            left, right = x.split(8, 1) if len(self.inner) == 1 else x.chunk(2, 1)
            x = self.shuffle(torch.cat([left, layer(right)], 1))
        return x


@pytest.mark.parametrize(("n", "size"), [(2, 4), (3, 2)])
def test_channels_that_are_split_and_shuffled_again_and_again_are_cut_in_step(n: int, size: int) -> None:
    """16 channels are 8 pairs of one half and the other, then 4, then 2: each split ties its mirror images."""
    assert sizes_cut_exactly(Halves(n)) == {"first": (size, 1)}


def test_a_width_that_the_network_spells_out_is_kept_by_the_probe() -> None:
    model, graph = traced(Halves(1))  # x.split(8) of fewer than 16 channels gives other halves
    assert [block.name for block in graph.blocks] == ["first"]
    sound = probe(model, graph, rng=np.random.default_rng(0))
    assert sound.blocks == ()
    assert "first" in sound.kept_whole


class Unknown(nn.Module):
    """Joins what is understood with what is not, and filters the unknown by a depthwise convolution."""

    def __init__(self) -> None:
        super().__init__()
        self.plain, self.depthwise = nn.Conv2d(16, 8, 1), nn.Conv2d(8, 8, 3, padding=1, groups=8)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        plain: torch.Tensor = self.plain(x)
        return torch.cat([plain, self.depthwise(x[:, :8].softmax(1))], 1)


def test_beside_what_is_not_understood_the_rest_is_cut() -> None:
    assert sizes_cut_exactly(Unknown()) == {"body.plain": (8, 1)}
    kept = traced(Unknown())[1].kept_whole
    assert kept["first"] == "read by slice"
    assert kept["body.depthwise"] == "not understood before conv2d"


class Slopes(nn.Module):
    """A slope for all channels, then one for each."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.many = nn.PReLU(init=-0.5), nn.PReLU(16)
        nn.init.uniform_(self.many.weight)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        sloped: torch.Tensor = self.many(self.one(x))
        return sloped


def test_slopes_are_cut_with_their_channels() -> None:
    assert sizes_cut_exactly(Slopes()) == {"first": (16, 1)}
    assert ("body.many.weight", 0) in traced(Slopes())[1].axes


ACTIVATIONS = [nn.CELU, nn.SELU, nn.RReLU, nn.LogSigmoid, nn.Softsign, nn.Softshrink, nn.Hardshrink, nn.Tanhshrink]


@pytest.mark.parametrize("kind", ACTIVATIONS)
def test_every_activation_passes_channels_on(kind: type[nn.Module]) -> None:
    assert sizes_cut_exactly(kind()) == {"first": (16, 1)}


def test_what_a_transposed_convolution_reads_and_makes_is_kept_whole() -> None:
    body = nn.Sequential(nn.Conv2d(16, 12, 1), nn.ConvTranspose2d(12, 10, 2, 2), nn.Conv2d(10, 16, 1))
    assert sizes_cut_exactly(body) == {"first": (16, 1), "body.2": (16, 1)}
    graph = traced(body)[1]
    assert graph.kept_whole["body.0"] == "read by conv_transpose2d"
    assert graph.other_macs == 12 * 10 * 4 * 16 * 16  # 32 px, halved once: each place makes four


class Margin(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return nn.functional.pad(x, (1, 0, 0, 1))[:, :, ::2]


def test_margins_and_slices_of_places_pass_channels_on() -> None:
    assert sizes_cut_exactly(Margin()) == {"first": (16, 1)}


class Scaled(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.one = nn.Conv2d(16, 1, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        scaled: torch.Tensor = x * self.one(x)
        return scaled


def test_a_product_of_unequal_widths_is_not_taken_for_one_of_equal_channels() -> None:
    assert traced(Scaled())[1].kept_whole == {
        "first": "read by mul",
        "body.one": "read by mul",
        "last": "the network's output",
    }
