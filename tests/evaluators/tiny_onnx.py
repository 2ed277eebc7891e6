"""The smallest ONNX file that can be timed."""

from pathlib import Path

import onnx
from onnx import TensorProto, helper


def write_relu(path: Path, *, side: int | str = 8) -> Path:
    """Return `path`, where an ONNX file with one ReLU now is."""
    shape = [1, 3, side, side]
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in ("images", "output0")]
    graph = helper.make_graph([helper.make_node("Relu", ["images"], ["output0"])], "relu", values[:1], values[1:])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10), path)
    return path
