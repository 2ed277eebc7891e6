"""A network that never changes, timed again and again: if its time changes, the machine did."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from evaluators.latency.timing import Latency, measure_latency

_LAYERS, _CHANNELS, _SIDE = 3, 32, 64  # 79 MMACs, a millisecond or two
_SECONDS = 0.1


def measure_sentinel(*, threads: int) -> Latency:
    """Return the sentinel's latency now."""
    return measure_latency(sentinel_model(), threads=threads, max_seconds=_SECONDS)


def sentinel_model() -> bytes:
    """Return the ONNX file: three convolutions of 3 x 3 with ReLU, 32 channels on 64 x 64 pixels, always the same."""
    rng = np.random.default_rng(0)
    nodes, weights, name = [], [], "images"
    for layer in range(_LAYERS):
        n_in = _CHANNELS if layer else 3
        kernel = rng.normal(0, (2 / (9 * n_in)) ** 0.5, (_CHANNELS, n_in, 3, 3)).astype(np.float32)
        weights.append(numpy_helper.from_array(kernel, f"weight{layer}"))
        nodes.append(helper.make_node("Conv", [name, f"weight{layer}"], [f"conv{layer}"], pads=[1, 1, 1, 1]))
        nodes.append(helper.make_node("Relu", [f"conv{layer}"], [f"relu{layer}"]))
        name = f"relu{layer}"
    ends = [
        helper.make_tensor_value_info(end, TensorProto.FLOAT, [1, channels, _SIDE, _SIDE])
        for end, channels in (("images", 3), (name, _CHANNELS))
    ]
    graph = helper.make_graph(nodes, "sentinel", ends[:1], ends[1:], weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    return bytes(model.SerializeToString())


def drift(sentinel_ms: Sequence[float], /) -> float:
    """Return by how much the slowest of the sentinel's times is above the fastest, relative to it."""
    times: NDArray[np.float64] = np.array(sentinel_ms)
    return float(times.max() / times.min() - 1)
