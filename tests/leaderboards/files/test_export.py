import ast
import logging
import os
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from numpy.typing import NDArray
from ultralytics import YOLO
from ultralytics.nn.tasks import torch_safe_load

from evaluators.accuracy.detection import coco_map, detections, predict
from evaluators.data.dataset import load_dataset
from evaluators.data.images import load_images
from evaluators.runtimes.onnx_export import decoding_nodes, export_int8, export_onnx
from evaluators.runtimes.onnx_runtime import OnnxDetector
from leaderboards.files.export import compare, export_other, opens_in_ultralytics, save_pt
from spaces.detectors.detector import load_detector
from spaces.errors import BadInput
from tests.spaces.detectors.yolov5.tiny import tiny
from tests.spaces.untrained import detector

SIZE = 64


def images(n: int = 2) -> NDArray[np.float32]:
    """Return random images."""
    return np.random.default_rng(0).random((n, 3, SIZE, SIZE), dtype=np.float32)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the tiny detector as model.onnx and model_int8.onnx."""
    made = tmp_path_factory.mktemp("exports")
    export_onnx(detector(), made / "model.onnx", imgsz=SIZE)
    export_int8(made / "model.onnx", made / "model_int8.onnx", [images(4)])
    return made


@pytest.mark.parametrize("name", ["yolov5n", "yolov8n", "yolo11n"])
def test_float_file_computes_what_the_network_does(tmp_path: Path, name: str) -> None:
    model = detector(name)
    path = export_onnx(model, tmp_path / "model.onnx", imgsz=SIZE)
    assert compare(model, OnnxDetector(path, threads=1), images()) <= 1e-4


def test_export_leaves_the_network_as_it_was(folder: Path) -> None:
    assert (folder / "model.onnx").exists()
    assert hasattr(detector().model[0], "bn")
    assert not detector().model[-1].export
    with torch.no_grad():
        assert len(detector()(torch.from_numpy(images()))) == 2  # decoded and raw, not in export mode


def test_nothing_but_the_files_is_left(folder: Path) -> None:
    assert sorted(path.name for path in folder.iterdir()) == ["model.onnx", "model_int8.onnx"]


def test_file_takes_a_batch_one_by_one(folder: Path) -> None:
    network, batch = OnnxDetector(folder / "model.onnx", threads=1), torch.from_numpy(images(3))
    outputs = network(batch)
    assert outputs.shape == (3, 4 + 10, 8 * 8 + 4 * 4 + 2 * 2)
    assert torch.equal(outputs[1:2], network(batch[1:2]))


@pytest.mark.parametrize("name", ["model.onnx", "model_int8.onnx"])
def test_metadata_tell_ultralytics_what_the_file_is(folder: Path, name: str) -> None:
    metadata = {entry.key: entry.value for entry in onnx.load(folder / name).metadata_props}
    assert ast.literal_eval(metadata["names"]) == detector().names
    assert ast.literal_eval(metadata["imgsz"]) == [SIZE, SIZE]
    assert (metadata["stride"], metadata["task"]) == ("32", "detect")
    assert metadata["license"].startswith("AGPL-3.0")


@pytest.mark.parametrize("name", ["model.onnx", "model_int8.onnx"])
def test_yolo_predicts_with_the_file(folder: Path, name: str) -> None:
    picture = np.full((SIZE, SIZE, 3), 100, np.uint8)
    (result,) = YOLO(folder / name, task="detect").predict(picture, imgsz=SIZE, device="cpu", verbose=False)
    assert result.names == detector().names


def test_int8_file_has_int8_convolutions_and_a_float_decoding(folder: Path) -> None:
    model = onnx.load(folder / "model_int8.onnx")
    makers = {name: node for node in model.graph.node for name in node.output}
    convolutions = [node for node in model.graph.node if node.op_type == "Conv"]
    is_float = [makers.get(node.input[1]) is None for node in convolutions]
    assert sum(is_float) == 1  # the mean of the box distributions
    assert "dfl" in convolutions[is_float.index(True)].name
    assert (folder / "model_int8.onnx").stat().st_size < 0.4 * (folder / "model.onnx").stat().st_size


@pytest.mark.skipif("REAL_DATA" not in os.environ, reason="needs REAL_DATA, the folder with data and weights")
def test_int8_file_of_a_trained_network_loses_little_map(tmp_path: Path) -> None:
    real = Path(os.environ["REAL_DATA"])
    model, _ = load_detector(real / "weights" / "bccd_yolov5nu_320.pt")
    dataset = load_dataset(real / "data" / "bccd" / "data.yaml")
    val, calibration = (load_images(part, imgsz=320) for part in (dataset.val, dataset.train[:64]))
    path = export_onnx(model, tmp_path / "model.onnx", imgsz=320)
    int8 = export_int8(path, tmp_path / "model_int8.onnx", (batch.numpy() for batch in calibration.batches(16)))
    exact, rounded = (
        coco_map([found for part in val.parts(16) for found in detections(network(part.tensor()), part)], val).map50_95
        for network in (OnnxDetector(path, threads=1), OnnxDetector(int8, threads=1))
    )
    assert exact == pytest.approx(coco_map(predict(model, val), val).map50_95, abs=1e-3)
    assert exact > 0.4
    assert rounded > exact - 0.03


@pytest.mark.parametrize("name", ["yolov5n", "yolo11n"])
def test_decoding_begins_after_the_detection_convolutions(tmp_path: Path, name: str) -> None:
    graph = onnx.load(export_onnx(detector(name), tmp_path / "model.onnx", imgsz=SIZE))
    found = set(decoding_nodes(graph))
    assert [node.name for node in graph.graph.node if node.name in found and node.op_type == "Conv"] == [
        node.name for node in graph.graph.node if node.op_type == "Conv" and "/dfl/" in node.name
    ]
    assert all(f"/model.{len(detector(name).model) - 1}/" in node for node in found)


def test_an_anchor_based_detector_is_exported_and_yolo_predicts_with_its_file(tmp_path: Path) -> None:
    model = tiny("yolov5n")
    path = export_onnx(model, tmp_path / "model.onnx", imgsz=SIZE)
    assert compare(model, OnnxDetector(path, threads=1), images()) <= 1e-4
    int8 = export_int8(path, tmp_path / "model_int8.onnx", [images(4)])
    graph = onnx.load(int8).graph
    makers = {name: node for node in graph.node for name in node.output}
    assert all(makers.get(node.input[1]) is not None for node in graph.node if node.op_type == "Conv")  # none is float
    exact = onnx.load(path)
    floats = [node for node in exact.graph.node if node.name in decoding_nodes(exact)]
    assert {"Sigmoid", "Concat"} <= {node.op_type for node in floats}
    assert all("/model.24/" in node.name and node.op_type != "Conv" for node in floats if node.op_type != "Constant")
    picture = np.full((SIZE, SIZE, 3), 100, np.uint8)
    (result,) = YOLO(path, task="detect").predict(picture, imgsz=SIZE, device="cpu", verbose=False)
    assert result.names == model.names


def test_only_networks_of_ultralytics_own_classes_become_a_checkpoint() -> None:
    assert opens_in_ultralytics(detector())
    assert not opens_in_ultralytics(tiny("yolov5n"))


def test_quantizer_leaves_the_log_as_it_was(folder: Path) -> None:
    level = logging.getLogger().level
    export_int8(folder / "model.onnx", folder / "again.onnx", [images(1)])
    (folder / "again.onnx").unlink()
    assert logging.getLogger().level == level


def test_checkpoint_opens_in_ultralytics_even_when_nothing_may_run(tmp_path: Path) -> None:
    path = save_pt(detector(), tmp_path / "model.pt", imgsz=SIZE)
    checkpoint, _ = torch_safe_load(path, safe_only=True)
    assert checkpoint["license"].startswith("AGPL-3.0")
    for (name, mine), stored in zip(
        detector().state_dict().items(), checkpoint["model"].state_dict().values(), strict=True
    ):
        assert torch.equal(mine, stored), name


def test_yolo_predicts_with_the_checkpoint(tmp_path: Path) -> None:
    yolo = YOLO(save_pt(detector(), tmp_path / "model.pt", imgsz=SIZE))
    (result,) = yolo.predict(np.full((SIZE, SIZE, 3), 100, np.uint8), device="cpu", verbose=False)
    assert result.names == detector().names
    assert yolo.overrides["imgsz"] == SIZE


def test_unknown_format_is_bad_input_and_lists_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"torchscript.*got 'gif'"):
        export_other(tmp_path / "model.pt", "gif", tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_other_formats_are_written_by_ultralytics(tmp_path: Path) -> None:
    model_pt = save_pt(detector(), tmp_path / "model.pt", imgsz=SIZE)
    path = export_other(model_pt, "torchscript", tmp_path / "out")
    assert path == tmp_path / "out" / "model.torchscript"
    assert path.stat().st_size > 1e6


@pytest.mark.slow
def test_format_without_its_tool_is_bad_input(tmp_path: Path) -> None:
    model_pt = save_pt(detector(), tmp_path / "model.pt", imgsz=SIZE)
    with pytest.raises(BadInput, match="format=openvino"):
        export_other(model_pt, "openvino", tmp_path / "out")
