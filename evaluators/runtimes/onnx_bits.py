"""A network of few bits as an ONNX file that computes with its own integers, and what ONNX Runtime makes of it.

onnxruntime's quantizer puts every layer on the grids that the network has; nothing is calibrated anew but what layers
make, which a simulation leaves in float32 and an integer convolution must round, to 8 bits. Two layers that read one
tensor on different grids each get their own, and a clip before it holds inputs of fewer than 8 bits to their grid; at 8
bits the runtime drops it. ONNX Runtime does not compute with weights of 4 bits: given them as such, it turns them into
floats. So they are stored in 4 or 2 bits and become bytes when the file is opened, and the convolution is one of
integers. These bytes are multiples of a power of two: the bias is rounded to products of both steps, which for few bits
are coarser than what layers make.
"""

import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import onnx
import onnxruntime as ort
import torch
from onnxruntime.quantization import QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process
from torch import Tensor, nn

from evaluators.runtimes.onnx_export import INT8_KIND, CalibrationImages, quiet_root_logger
from evaluators.runtimes.onnx_packing import BYTE, factor_of, packed
from evaluators.runtimes.precision import Int8
from evaluators.runtimes.runtime import Images
from spaces.bits.layer_bits import LayerBits
from spaces.bits.quantized import QuantizedLayer, allocation_of, layers_by_name, quantized_layers
from spaces.bits.ranges import Grid
from spaces.channels.blocks import layer_of
from spaces.files import write_atomic

MIDDLE = 128  # of the bytes that weights around 0 become
N_NAMED = 3  # layers in a sentence
SLACK = 0.01  # of a step, by which float32 may miss the grid
_Override = dict[str, object]  # as onnxruntime's quantizer takes it


@dataclass(frozen=True)
class Execution:
    """How an exported file is computed here, by layer.

    Attributes:
        allocation: the bits that were asked for.
        integer: convolved as integers.
        unpacked: stored in few bits, computed in float32.
        floating: stored and computed in float32.
        opset: that a runtime needs.
    """

    allocation: Mapping[str, LayerBits]
    integer: tuple[str, ...]
    unpacked: tuple[str, ...]
    floating: tuple[str, ...]
    opset: int

    def sentence(self) -> str:
        """Return what is exported and how it runs, where that is not what was asked for above all."""
        runtime = f"onnxruntime {ort.__version__}"
        n_layers = len(self.integer) + len(self.unpacked) + len(self.floating)
        parts = [f"{len(self.integer)} of {n_layers} layers run as 8-bit integers in {runtime} (opset {self.opset})"]
        if self.unpacked:
            parts.append(f"stored in few bits but computed in float32: {_listed(self.unpacked)}")
        if refused := [name for name in self.floating if name in self.allocation]:
            parts.append(f"in float32, because no kernel takes their bits: {_listed(refused)}")
        stored = [self.allocation[name] for name in (*self.integer, *self.unpacked)]
        if 3 in {bits.weight for bits in stored}:
            parts.append("weights of 3 bits are stored in 4")
        if 6 in {bits.weight for bits in stored}:
            parts.append("weights of 6 bits are stored in 8")
        if few := sorted({bits.activation for bits in stored if bits.activation < BYTE}):
            parts.append(f"inputs of {_listed(map(str, few))} bits are bytes held to their own grid")
        return "; ".join(parts)


class _Call(NamedTuple):
    """A convolution of the graph and the layer that it is."""

    name: str
    node: onnx.NodeProto
    layer: QuantizedLayer


def export_quantized(
    network: nn.Module, onnx_path: Path, path: Path, *, calibration: Iterable[Images], kind: Int8 = Int8.PORTABLE
) -> Execution:
    """Write a quantized `network` to `path`, each layer on its own grids; return how that file is computed.

    Args:
        onnx_path: the file of `plain(network)`, as `export_onnx` writes it.
        calibration: images like those the model will see, on which the ranges of what layers make are found.
    """
    with tempfile.TemporaryDirectory() as folder, quiet_root_logger():
        prepared = Path(folder) / "prepared.onnx"
        quant_pre_process(str(onnx_path), str(prepared), skip_symbolic_shape=True)
        graph = onnx.load(prepared)
        calls = _calls(graph, network)
        overrides = _weight_overrides(graph, calls, kind) | _separate_inputs_(graph, calls)
        rounded = _quantized(graph, calls, overrides, folder=Path(folder), calibration=calibration)
    stored = packed(rounded, {call.node.input[1]: call.layer.bits for call in calls})
    metadata = {entry.key: entry.value for entry in onnx.load(onnx_path).metadata_props}
    onnx.helper.set_model_props(stored, {**metadata, INT8_KIND: kind.value})
    onnx.checker.check_model(stored)
    write_atomic(path, stored.SerializeToString())
    return _execution(network, path, calls)


def _calls(graph: onnx.ModelProto, network: nn.Module) -> list[_Call]:
    """Return the convolutions whose layers have bits that integer kernels can hold."""
    layers = quantized_layers(network)
    named = ((_layer_name(node), node) for node in graph.graph.node if node.op_type == "Conv")
    return [_Call(name, node, layers[name]) for name, node in named if name in layers and _has_kernel(layers[name])]


def _layer_name(node: onnx.NodeProto) -> str:
    """Return the short name of the layer that `node` was: "24.cv2.0" for /model.24/cv2.0/cv2.0.0/conv/Conv.

    The tracer writes a scope for each module that is called, by its name in the last one, or by more of its name where
    a list stands between.
    """
    scopes = list[str]()
    for scope in node.name.split("/")[1:-1]:
        if scopes and scope.startswith(f"{scopes[-1]}."):
            scopes.pop()
        scopes.append(scope)
    return layer_of(".".join([*scopes, "weight"]))


def _has_kernel(layer: QuantizedLayer) -> bool:
    """Return whether bytes hold the weights and inputs of `layer`, and its weights are on grids around 0."""
    return max(layer.bits.weight, layer.bits.activation) <= BYTE and layer.weight_grid().lowest < 0


def _quantized(
    graph: onnx.ModelProto,
    calls: Sequence[_Call],
    overrides: Mapping[str, list[_Override]],
    /,
    *,
    folder: Path,
    calibration: Iterable[Images],
) -> onnx.ModelProto:
    """Return `graph` with the convolutions of `calls` alone on the grids of their layers, weights in bytes."""
    if not calls:  # the quantizer reads an empty list as all of them
        return graph
    apart, rounded = folder / "apart.onnx", folder / "rounded.onnx"
    onnx.save(graph, apart)
    quantize_static(
        str(apart),
        str(rounded),
        CalibrationImages(graph.graph.input[0].name, calibration),
        quant_format=QuantFormat.QDQ,
        op_types_to_quantize=["Conv"],
        nodes_to_quantize=[call.node.name for call in calls],
        per_channel=True,
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
        extra_options={"TensorQuantOverrides": dict(overrides)},
    )
    return onnx.load(rounded)


def _weight_overrides(graph: onnx.ModelProto, calls: Sequence[_Call], kind: Int8) -> dict[str, list[_Override]]:
    """Return by tensor what the quantizer is told of each channel's weights.

    Of a portable file those of 8 bits beside inputs of 8 bits are bytes around 128, which AVX2 multiplies without
    overflow, if more slowly.
    """
    tensors = {tensor.name: tensor for tensor in graph.graph.initializer}
    found = {}
    for name, node, layer in calls:
        exported = torch.from_numpy(onnx.numpy_helper.to_array(tensors[node.input[1]]).copy())
        scales = _exported_scales(name, layer, exported) / factor_of(layer.bits)
        is_wide = kind is Int8.PORTABLE and layer.bits.weight == layer.bits.activation == BYTE
        common: _Override = {"axis": 0, "quant_type": QuantType.QInt8, "zero_point": np.asarray(0, np.int8)}
        if is_wide:
            common |= {"quant_type": QuantType.QUInt8, "zero_point": np.asarray(MIDDLE, np.uint8)}
        found[node.input[1]] = [{**common, "scale": scale} for scale in scales.numpy()]
    return found


def _exported_scales(name: str, layer: QuantizedLayer, exported: Tensor) -> Tensor:
    """Return the step of each channel of `exported`; what BatchNorm multiplied the weights by, their step is, too."""
    rounded, exported = layer.rounded_weight().cpu().flatten(1), exported.flatten(1)
    energy = rounded.square().sum(1)
    gain = torch.where(energy > 0, (exported * rounded).sum(1) / energy.clamp(min=torch.finfo().tiny), 1.0)
    scales = layer.weight_grid().scale.cpu() * gain.abs()
    if not bool(((exported - gain[:, None] * rounded).abs() <= SLACK * scales[:, None]).all()):
        raise ValueError(f"the exported weights of {name} must lie on its grid")
    return torch.where(scales > 0, scales, 1.0).float()


def _separate_inputs_(graph: onnx.ModelProto, calls: Sequence[_Call]) -> dict[str, list[_Override]]:
    """Give all calls that round one tensor to one grid a clipped copy of it; return by copy that grid."""
    nodes, overrides = list[onnx.NodeProto](), dict[str, list[_Override]]()
    rounding, copies = {call.node.output[0]: call for call in calls}, dict[tuple[object, ...], str]()
    for node in graph.graph.node:
        if node.output and node.output[0] in rounding:
            name, _, layer = rounding[node.output[0]]
            grid = layer.input_grid()
            key = (node.input[0], float(grid.scale), int(grid.zero_point), grid.lowest, grid.highest)
            if key not in copies:
                copies[key] = f"{name}.input"
                overrides[copies[key]] = [_input_override(grid)]
                nodes.append(_clip_(graph, node.input[0], copies[key], grid))
            node.input[0] = copies[key]
        nodes.append(node)
    del graph.graph.node[:]
    graph.graph.node.extend(nodes)
    return overrides


def _clip_(graph: onnx.ModelProto, source: str, target: str, grid: Grid) -> onnx.NodeProto:
    """Return the node that holds `source` to the ends of `grid`, which become constants of `graph`."""
    for end, level in (("low", grid.lowest), ("high", grid.highest)):
        value = np.asarray((level - int(grid.zero_point)) * float(grid.scale), np.float32)
        graph.graph.initializer.append(onnx.numpy_helper.from_array(value, f"{target}.{end}"))
    return onnx.helper.make_node("Clip", [source, f"{target}.low", f"{target}.high"], [target], name=f"{target}/Clip")


def _input_override(grid: Grid) -> _Override:
    """Return what the quantizer is told of a tensor on `grid`, whose lowest integer becomes the byte 0."""
    return {
        "quant_type": QuantType.QUInt8,
        "scale": np.asarray(float(grid.scale), np.float32),
        "zero_point": np.asarray(int(grid.zero_point) - grid.lowest, np.uint8),
    }


def _execution(network: nn.Module, path: Path, calls: Sequence[_Call]) -> Execution:
    """Return how the file at `path` is computed, by what ONNX Runtime has made of it when it was opened."""
    running = _integer_weights(path)
    integer = tuple(call.name for call in calls if f"{call.node.input[1]}_quantized" in running)
    unpacked = tuple(call.name for call in calls if call.name not in integer)
    floating = tuple(name for name in layers_by_name(network) if name not in {*integer, *unpacked})
    (opset,) = (entry.version for entry in onnx.load(path).opset_import if not entry.domain)
    return Execution(allocation_of(network), tuple(dict.fromkeys(integer)), unpacked, floating, opset)


def _integer_weights(path: Path) -> set[str]:
    """Return the names of the tensors that integer convolutions multiply by."""
    with tempfile.TemporaryDirectory() as folder:
        options = ort.SessionOptions()
        options.optimized_model_filepath = str(Path(folder) / "optimized.onnx")
        options.log_severity_level = 3  # errors only: it warns that the optimized file is for this machine alone
        ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        optimized = onnx.load(options.optimized_model_filepath)
    return {node.input[3] for node in optimized.graph.node if node.op_type == "QLinearConv"}


def _listed(names: Iterable[str]) -> str:
    """Return the first `N_NAMED` names, and how many there are beside."""
    known = tuple(names)
    beside = f" and {len(known) - N_NAMED} more" if len(known) > N_NAMED else ""
    return ", ".join(known[:N_NAMED]) + beside
