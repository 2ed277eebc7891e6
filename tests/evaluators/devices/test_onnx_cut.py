from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from numpy.typing import NDArray

from evaluators.devices.onnx_cut import OnnxCutter
from evaluators.runtimes.onnx_export import export_int8, export_onnx
from evaluators.runtimes.onnx_runtime import open_session
from leaderboards.benchmarks.cuts.networks import untrained
from spaces.channels.trace import trace_channels
from spaces.cutting.probe import probe
from spaces.cutting.subnet import choose_channels, install, slice_tensors
from spaces.space import Space
from tests.spaces.detectors.yolov5.tiny import tiny

IMGSZ = 64


def widths(model: onnx.ModelProto) -> list[tuple[int, ...]]:
    """Return the shapes of all weights, whatever they are called."""
    return sorted(tuple(each.dims) for each in model.graph.initializer if len(each.dims) == 4)


def run(content: bytes, image: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.asarray(open_session(content, threads=1).run(None, {"images": image})[0])


@pytest.mark.parametrize(
    "name", ["yolov8n", pytest.param("yolo11n", marks=pytest.mark.slow), "anchors"]
)  # sliced channels; depthwise ones and attention
def test_a_cut_file_is_what_the_cut_network_would_be_exported_to(name: str, tmp_path: Path) -> None:
    model = tiny("yolov5n") if name == "anchors" else untrained(name, n_classes=2)
    rng = np.random.default_rng(0)
    graph = probe(model, trace_channels(model, imgsz=IMGSZ), rng=rng)
    space = Space(graph)
    parent = export_onnx(model, tmp_path / "parent.onnx", imgsz=IMGSZ)
    keep = space.decode(space.sample(rng, limits={"macs_g": 0.5 * space.reach()["macs_g"][1]}))
    first = choose_channels(graph, tuple(np.zeros(block.parts * block.size) for block in graph.blocks), keep)
    subnet = install(model, slice_tensors(model.state_dict(), graph, first))
    exported = export_onnx(subnet, tmp_path / "subnet.onnx", imgsz=IMGSZ)

    cut = OnnxCutter(onnx.load(parent), graph)(keep)
    assert widths(onnx.load_from_string(cut)) == widths(onnx.load(exported))
    image = rng.random((1, 3, IMGSZ, IMGSZ)).astype(np.float32)
    with torch.no_grad():
        expected = subnet(torch.from_numpy(image))[0].numpy()
    np.testing.assert_allclose(run(cut, image), expected, atol=2e-3 * np.abs(expected).max())

    int8 = export_int8(parent, tmp_path / "int8.onnx", [image])
    of_subnet = export_int8(exported, tmp_path / "subnet_int8.onnx", [image])
    cut = OnnxCutter(onnx.load(int8), graph)(keep)
    assert widths(onnx.load_from_string(cut)) == widths(onnx.load(of_subnet))
    assert run(cut, image).shape == expected.shape


def test_the_parent_stays_what_it_is(tmp_path: Path) -> None:
    model = untrained("yolov5n", n_classes=2)
    graph = trace_channels(model, imgsz=IMGSZ)
    space = Space(graph)
    path = export_onnx(model, tmp_path / "parent.onnx", imgsz=IMGSZ)
    cutter = OnnxCutter(onnx.load(path), graph)
    image = np.random.default_rng(0).random((1, 3, IMGSZ, IMGSZ)).astype(np.float32)
    smallest = np.array([gene.options[0] for gene in space.genes])
    cutter(smallest)
    np.testing.assert_array_equal(run(cutter(space.decode(space.parent)), image), run(path.read_bytes(), image))
