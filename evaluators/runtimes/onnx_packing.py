"""Weights of at most 4 bits stored as such in an ONNX file, whose nodes make bytes of them when it is opened."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import onnx
from onnx.version_converter import convert_version

from spaces.bits.layer_bits import LayerBits

BYTE = 8  # bits of what integer kernels take


class _Storage(NamedTuple):
    """A type of tensors, and the first opset that has it."""

    kind: int
    opset: int


_PACKED = {
    2: _Storage(onnx.TensorProto.INT2, 25),
    3: _Storage(onnx.TensorProto.INT4, 21),
    4: _Storage(onnx.TensorProto.INT4, 21),
}


def packed(model: onnx.ModelProto, bits: Mapping[str, LayerBits], /) -> onnx.ModelProto:
    """Return `model` with weights of at most 4 bits stored as such, and cast to bytes when the file is opened.

    Args:
        bits: of the layer of each weight tensor, by the name that it had before it was quantized.
    """
    stored = {f"{name}_quantized": each for name, each in bits.items() if each.weight in _PACKED}
    if not stored:
        return model
    model = convert_version(model, max(_PACKED[each.weight].opset for each in stored.values()))
    unpacking = list[onnx.NodeProto]()
    for tensor in [tensor for tensor in model.graph.initializer if tensor.name in stored]:
        unpacking += _pack_(model.graph, tensor, stored[tensor.name])
    nodes = unpacking + list(model.graph.node)
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    return model


def _pack_(graph: onnx.GraphProto, tensor: onnx.TensorProto, bits: LayerBits) -> list[onnx.NodeProto]:
    """Store `tensor` in few bits; return the nodes that make its bytes again, which a runtime does once."""
    name, kind = tensor.name, _PACKED[bits.weight].kind
    levels = onnx.numpy_helper.to_array(tensor) // factor_of(bits)
    few = levels.astype(onnx.helper.tensor_dtype_to_np_dtype(kind))
    graph.initializer.remove(tensor)
    graph.initializer.append(onnx.numpy_helper.from_array(few, f"{name}.packed"))
    graph.initializer.append(onnx.numpy_helper.from_array(np.asarray(factor_of(bits), np.int32), f"{name}.factor"))
    return [
        onnx.helper.make_node("Cast", [f"{name}.packed"], [f"{name}.levels"], to=onnx.TensorProto.INT32),
        onnx.helper.make_node("Mul", [f"{name}.levels", f"{name}.factor"], [f"{name}.spread"]),
        onnx.helper.make_node("Cast", [f"{name}.spread"], [name], to=onnx.TensorProto.INT8),
    ]


def factor_of(bits: LayerBits, /) -> int:
    """Return by how much the integers of weights are multiplied, and their steps divided.

    They fill bytes, or beside inputs of 8 bits half of that: AVX2 kernels add two products in 16 bits, and 255 * 64 * 2
    is the most that fits.
    """
    spread = BYTE - (bits.activation == BYTE)
    return 1 << max(spread - bits.weight, 0)
