from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from onnx import TensorProto, helper, save

from evaluators.data.dataset import Sample
from evaluators.data.decoding import read_image
from evaluators.data.images import load_images
from evaluators.latency.stages import measure_stages, ready
from evaluators.runtimes.onnx_runtime import ONNX_RUNTIME


def sample(path: Path) -> Sample:
    """Return one wide image with one box."""
    pixels = np.random.default_rng(0).integers(0, 256, (50, 90, 3)).astype(np.uint8)
    cv2.imwrite(str(path), pixels)
    return Sample(path, np.array([[0, 0.5, 0.5, 0.2, 0.2]], np.float32))


def write_detector(path: Path) -> Path:
    """Return `path`, where a network now is that finds the same 20 made-up boxes in any image of 64 px."""
    boxes = np.random.default_rng(1).uniform(5, 60, (1, 4, 20))
    scores = np.random.default_rng(2).uniform(0, 1, (1, 2, 20))
    outputs = helper.make_tensor("outputs", TensorProto.FLOAT, [1, 6, 20], np.hstack([boxes, scores]).ravel())
    nodes = [
        helper.make_node("ReduceMin", ["images"], ["least"], keepdims=0),
        helper.make_node("Sub", ["least", "least"], ["nothing"]),
        helper.make_node("Add", ["outputs", "nothing"], ["output0"]),
    ]
    ends = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
        for name, shape in (("images", [1, 3, 64, 64]), ("output0", [1, 6, 20]))
    ]
    graph = helper.make_graph(nodes, "detector", ends[:1], ends[1:], [outputs])
    save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10), path)
    return path


def test_both_stages_are_timed_and_the_threads_are_given_back(tmp_path: Path) -> None:
    before = torch.get_num_threads(), cv2.getNumThreads()
    file = ONNX_RUNTIME.open(write_detector(tmp_path / "a.onnx"), threads=1)
    stages = measure_stages(file, sample(tmp_path / "a.png"), imgsz=64, max_seconds=0.05)
    assert stages.preprocess.median_ms > 0
    assert stages.postprocess.median_ms > 0
    assert (torch.get_num_threads(), cv2.getNumThreads()) == before


def test_an_image_is_made_ready_as_those_that_map_is_measured_on(tmp_path: Path) -> None:
    one = sample(tmp_path / "a.png")
    expected = load_images([one], imgsz=64).tensor().numpy()
    np.testing.assert_array_equal(ready(read_image(one.image), imgsz=64), expected)
    assert ready(read_image(one.image), imgsz=64).flags.c_contiguous


@pytest.mark.parametrize("side", [32, 96])
def test_it_has_the_size_of_the_network(side: int, tmp_path: Path) -> None:
    one = sample(tmp_path / "a.png")
    assert ready(read_image(one.image), imgsz=side).shape == (1, 3, side, side)
