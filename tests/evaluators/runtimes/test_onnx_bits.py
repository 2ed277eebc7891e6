from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from torch import Tensor, nn
from ultralytics import YOLO

from evaluators.runtimes.onnx_bits import Execution, export_quantized
from evaluators.runtimes.onnx_export import export_onnx
from evaluators.runtimes.onnx_runtime import open_session
from evaluators.runtimes.runtime import Images
from spaces.bits.layer_bits import LayerBits
from spaces.bits.quantized import plain, quantized_layers
from spaces.bits.simulation import Simulator, simulate
from tests.spaces.untrained import detector

SIZE = 64
ASKED = {  # 2.cv1 and 2.cv2 read one tensor, so do 4.cv1 and 4.cv2
    "1": LayerBits(8, 8),
    "2.cv1": LayerBits(4, 8),
    "2.cv2": LayerBits(3, 4),
    "4.cv1": LayerBits(8, 6),
    "4.cv2": LayerBits(2, 6),
    "6.cv1": LayerBits(16, 8),
    "6.cv2": LayerBits(8, 16),
    "8.cv1": LayerBits(6, 3),
}


@dataclass(frozen=True, eq=False)
class Exported:
    """A network of many different bits and its file."""

    network: nn.Module
    path: Path
    execution: Execution

    def graph(self) -> onnx.GraphProto:
        """Return what is in the file."""
        return onnx.load(self.path).graph

    def makers(self) -> dict[str, onnx.NodeProto]:
        """Return the nodes of the file by what they make."""
        return {name: node for node in self.graph().node for name in node.output}

    def convolution(self, weight: str) -> onnx.NodeProto:
        """Return the convolution whose weights were called `weight`."""
        return next(
            node for node in self.graph().node if node.op_type == "Conv" and node.input[1].startswith(weight + "_")
        )


def images(n: int) -> Images:
    """Return random images."""
    return np.random.default_rng(0).random((n, 3, SIZE, SIZE), dtype=np.float32)


def export(network: nn.Module, folder: Path, *, calibration: Images) -> Exported:
    """Return `network` with its file in `folder`."""
    unbound = plain(network)
    onnx_path = export_onnx(unbound, folder / "model.onnx", imgsz=calibration.shape[-1])
    path = folder / "quantized.onnx"
    return Exported(network, path, export_quantized(network, onnx_path, path, calibration=[calibration]))


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> Exported:
    """The tiny detector under `ASKED`."""
    network = simulate(detector(), ASKED, torch.from_numpy(images(8)))
    return export(network, tmp_path_factory.mktemp("quantized"), calibration=images(8))


def tensors(graph: onnx.GraphProto) -> dict[str, onnx.TensorProto]:
    """Return the constants of `graph` by name."""
    return {tensor.name: tensor for tensor in graph.initializer}


def seen(exported: Exported, names: Sequence[str]) -> dict[str, Tensor]:
    """Return the tensors called `names` in the file, of one image."""
    model = onnx.load(exported.path)
    model.graph.output.extend(onnx.helper.make_empty_tensor_value_info(name) for name in dict.fromkeys(names))
    session = open_session(model.SerializeToString(), threads=1)
    found = session.run(list(names), {"images": images(1)})
    return dict(zip(names, map(torch.from_numpy, found), strict=True))


def test_each_layer_makes_what_the_simulation_does_of_the_same_input_up_to_the_rounding_of_outputs(
    mixed: Exported,
) -> None:
    makers, constants = mixed.makers(), tensors(mixed.graph())
    users = {node.input[0]: node for node in mixed.graph().node if node.op_type.endswith("QuantizeLinear")}
    users |= {node.input[0]: node for node in mixed.graph().node if node.op_type == "DequantizeLinear"}
    layers = quantized_layers(mixed.network)
    for name in mixed.execution.integer:
        convolution = mixed.convolution(f"model.{name}.conv.weight")
        read = makers[makers[makers[convolution.input[0]].input[0]].input[0]].input[0]  # before clip, Q and DQ
        quantize = users[convolution.output[0]]
        made = users[quantize.output[0]].output[0]
        step, zero = (onnx.numpy_helper.to_array(constants[each]) for each in quantize.input[1:])
        found = seen(mixed, [read, made])
        with torch.no_grad():
            expected = torch.fake_quantize_per_tensor_affine(layers[name](found[read]), float(step), int(zero), 0, 255)
        steps = (found[made] - expected).abs() / float(step)
        assert steps.max() < 1.01, name  # where float32 and int32 fall to different sides of a middle
        assert (steps > 0.5).float().mean() < 0.02, name  # the bias is rounded to a product of both steps


def test_layers_of_at_most_eight_bits_run_as_integers(mixed: Exported) -> None:
    assert set(mixed.execution.integer) == {"1", "2.cv1", "2.cv2", "4.cv1", "4.cv2", "8.cv1"}
    assert mixed.execution.unpacked == ()
    assert {"6.cv1", "6.cv2", "0"} <= set(mixed.execution.floating)


@pytest.mark.parametrize(
    ("layer", "kind", "bits"),
    [("2.cv1", "INT4", 4), ("2.cv2", "INT4", 4), ("4.cv2", "INT2", 2), ("8.cv1", "INT8", 8)],
)
def test_weights_take_their_bits_in_the_file(mixed: Exported, layer: str, kind: str, bits: int) -> None:
    constants, weight = tensors(mixed.graph()), quantized_layers(mixed.network)[layer].weight
    name = f"model.{layer}.conv.weight_quantized"
    stored = constants[name if bits == 8 else f"{name}.packed"]
    assert stored.data_type == getattr(onnx.TensorProto, kind)
    assert len(stored.raw_data) == weight.numel() * bits / 8


@pytest.mark.parametrize("layer", ["1", "2.cv1", "2.cv2", "4.cv2", "8.cv1"])
def test_stored_integers_are_those_of_the_network(mixed: Exported, layer: str) -> None:
    constants, own = tensors(mixed.graph()), quantized_layers(mixed.network)[layer]
    name, bits = f"model.{layer}.conv.weight", ASKED[layer].weight
    # weights are spread over 8 bits, over 7 beside inputs of 8: 3 bits over 8 is a factor of 2^5, 4 over 7 one of 2^3
    factor = {"1": 1, "2.cv1": 8, "2.cv2": 32, "4.cv2": 64, "8.cv1": 4}[layer]
    packed = constants[f"{name}_quantized" if bits > 4 else f"{name}_quantized.packed"]
    grid = own.weight_grid()
    levels = (own.rounded_weight() / grid.scale.view(-1, 1, 1, 1)).round().long().numpy()
    stored = onnx.numpy_helper.to_array(packed).astype(np.int64) - (128 if layer == "1" else 0)  # of 8 bits by 8
    assert np.array_equal(stored, levels if bits <= 4 else levels * factor)
    steps = onnx.numpy_helper.to_array(constants[f"{name}_scale"])
    assert np.allclose(steps * factor, grid.scale.numpy(), rtol=1e-5)


def test_layers_that_read_one_tensor_on_different_grids_have_their_own(mixed: Exported) -> None:
    makers, constants = mixed.makers(), tensors(mixed.graph())
    clips = {}
    for layer in ("2.cv1", "2.cv2", "4.cv1", "4.cv2"):
        dequantize = makers[mixed.convolution(f"model.{layer}.conv.weight").input[0]]
        quantize = makers[dequantize.input[0]]
        clips[layer] = makers[quantize.input[0]]
        step, zero = (onnx.numpy_helper.to_array(constants[name]) for name in quantize.input[1:])
        grid = quantized_layers(mixed.network)[layer].input_grid()
        assert float(step) == pytest.approx(float(grid.scale))
        assert int(zero) == int(grid.zero_point)
        high = onnx.numpy_helper.to_array(constants[clips[layer].input[2]])
        assert high / step + zero == pytest.approx(2 ** ASKED[layer].activation - 1)
    assert clips["2.cv1"].input[0] == clips["2.cv2"].input[0]
    assert clips["2.cv1"].name != clips["2.cv2"].name  # 8 and 4 bits
    assert clips["4.cv1"].name == clips["4.cv2"].name  # 6 bits both, so the runtime rounds once


def test_what_is_not_exported_as_asked_is_said(mixed: Exported) -> None:
    sentence = mixed.execution.sentence()
    assert "6 of 76 layers run as 8-bit integers" in sentence
    assert "(opset 25)" in sentence  # the first with 2 bits
    assert "in float32, because no kernel takes their bits: 6.cv1, 6.cv2" in sentence
    assert "weights of 3 bits are stored in 4; weights of 6 bits are stored in 8" in sentence
    assert "inputs of 3, 4, 6 bits are bytes held to their own grid" in sentence


def test_eight_bits_everywhere_need_no_excuse() -> None:
    eight = Execution({"0": LayerBits(8, 8)}, integer=("0",), unpacked=(), floating=("1",), opset=18)
    assert eight.sentence().startswith("1 of 2 layers run as 8-bit integers in onnxruntime ")
    assert eight.sentence().endswith(" (opset 18)")


def test_layers_that_are_computed_in_float_all_the_same_are_named() -> None:
    names = ("0", "1", "2.cv1", "2.cv2")
    lost = Execution(dict.fromkeys(names, LayerBits(4, 8)), integer=(), unpacked=names, floating=(), opset=21)
    assert "stored in few bits but computed in float32: 0, 1, 2.cv1 and 1 more" in lost.sentence()


def test_file_is_valid_and_yolo_predicts_with_it(mixed: Exported) -> None:
    onnx.checker.check_model(onnx.load(mixed.path), full_check=True)
    picture = np.full((SIZE, SIZE, 3), 100, np.uint8)
    (result,) = YOLO(mixed.path, task="detect").predict(picture, imgsz=SIZE, device="cpu", verbose=False)
    assert result.names == detector().names


def test_network_and_its_float_file_stay_as_they_were(mixed: Exported) -> None:
    assert set(quantized_layers(mixed.network)) == set(ASKED)
    assert (mixed.path.parent / "model.onnx").exists()
    assert sorted(path.name for path in mixed.path.parent.iterdir()) == ["model.onnx", "quantized.onnx"]


def test_a_network_of_nothing_but_sixteen_bits_is_exported_in_float(tmp_path: Path) -> None:
    network = simulate(detector(), {"2.cv1": LayerBits(16, 16)}, torch.from_numpy(images(8)))
    wide = export(network, tmp_path, calibration=images(1))
    assert wide.execution.integer == ()
    assert "0 of 76 layers" in wide.execution.sentence()
    assert not [node for node in wide.graph().node if node.op_type == "QuantizeLinear"]


@pytest.mark.slow
def test_branches_that_ultralytics_would_merge_stay_on_their_own_grids(tmp_path: Path) -> None:
    simulator = Simulator(detector("yolov9t"), torch.from_numpy(images(8)))
    network = simulator(dict.fromkeys(simulator.layers, LayerBits(8, 8)))
    exported = export(network, tmp_path, calibration=images(1))
    assert exported.execution.unpacked == ()
    assert exported.execution.floating == ("22.dfl",)
