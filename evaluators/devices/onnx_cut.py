"""ONNX files of many candidates from one export of their parent: about 20 ms each instead of a second or more.

For timing only. How long a network takes does not depend on which channels stay, so the first ones do, with the
parent's weights. Everything that carries a width is rewritten: weights, biases, scales, groups, bounds of slices.
"""

from collections.abc import Iterable, Mapping

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

from spaces.channels.graph import ChannelGraph
from spaces.cutting.subnet import choose_channels, kept_indices

_OF_WEIGHT = ("", "_quantized", "_scale", "_zero_point")  # what the quantizer adds to a name
_FORGETS_CHANNELS = ("MatMul", "Reshape", "Shape", "Split", "Transpose")  # dimension 1 is another thing behind these
_OF_BIAS = ("", "_quantized", "_quantized_scale", "_quantized_zero_point")

Kept = Mapping[tuple[str, int], NDArray[np.int64]]


class OnnxCutter:
    """Cuts the ONNX file of one parent, float or INT8 with folded BatchNorm, to the widths of its candidates.

    Args:
        parent: as `export_onnx` or `export_int8` write it.
        graph: the parent's channel graph.
    """

    def __init__(self, parent: onnx.ModelProto, graph: ChannelGraph) -> None:
        self._graph = graph
        self._zeros = tuple(np.zeros(block.parts * block.size) for block in graph.blocks)
        owners = _owners(graph)
        arrays = {each.name: numpy_helper.to_array(each) for each in parent.graph.initializer}
        self._fixed = {name: array for name, array in arrays.items() if name not in owners}
        self._cut = {name: (owners[name], array) for name, array in arrays.items() if name in owners}
        self._rest = onnx.ModelProto()
        self._rest.CopyFrom(parent)
        del self._rest.graph.initializer[:]
        self._widths = _widths(self._rest.graph.node, arrays)

    def __call__(self, keep: NDArray[np.int64], /) -> bytes:
        """Return the ONNX file of the candidate with these keep counts, (n_genes,)."""
        kept = kept_indices(self._graph, choose_channels(self._graph, self._zeros, keep))
        arrays = {name: _sliced(array, owner, kept) for name, (owner, array) in self._cut.items()} | self._fixed
        model = onnx.ModelProto()
        model.CopyFrom(self._rest)
        for node in model.graph.node:
            _set_groups_(node, arrays)
        arrays |= self._bounds(model.graph.node, arrays)
        model.graph.initializer.extend(numpy_helper.from_array(array, name) for name, array in arrays.items())
        del model.graph.value_info[:]  # the parent's shapes
        return bytes(model.SerializeToString())

    def _bounds(
        self, nodes: Iterable[onnx.NodeProto], arrays: Mapping[str, NDArray[np.generic]]
    ) -> dict[str, NDArray[np.generic]]:
        """Return the bounds of slices along the channels, in the parent's proportions."""
        nodes = list(nodes)
        widths = _widths(nodes, arrays, like=self._widths)
        bounds = {}
        for node in nodes:
            if not _slices_channels(node, arrays) or node.input[0] not in widths:
                continue
            whole, width = self._widths[node.input[0]], widths[node.input[0]]
            for name in node.input[1:3]:
                bounds[name] = np.minimum(self._fixed[name], whole) * width // whole
        return bounds


def _owners(graph: ChannelGraph) -> dict[str, str]:
    """Return the weight that each initializer follows; a bias follows the weight it is added behind."""
    owners: dict[str, str] = {}
    for layer in graph.layers:
        bias = f"{layer.weight.removesuffix('weight')}bias"
        owners |= {layer.weight + suffix: layer.weight for suffix in _OF_WEIGHT}
        owners |= {bias + suffix: layer.weight for suffix in _OF_BIAS}
    return owners


def _sliced(array: NDArray[np.generic], weight: str, kept: Kept) -> NDArray[np.generic]:
    for dimension in range(min(array.ndim, 2)):
        if (weight, dimension) in kept:
            array = array.take(kept[weight, dimension], axis=dimension)
    return array


def _set_groups_(node: onnx.NodeProto, arrays: Mapping[str, NDArray[np.generic]]) -> None:
    weight = _weight(node, arrays)
    if weight is None or weight.shape[1] > 1:
        return
    for attribute in node.attribute:
        if attribute.name == "group" and attribute.i > 1:  # depthwise: other groups are never cut
            attribute.i = len(weight)


def _weight(node: onnx.NodeProto, arrays: Mapping[str, NDArray[np.generic]]) -> NDArray[np.generic] | None:
    """Return the weight of a convolution, which behind a DequantizeLinear goes by its name without the ending."""
    if node.op_type != "Conv":
        return None
    name = node.input[1]
    return arrays.get(name, arrays.get(name.replace("_DequantizeLinear_Output", "_quantized")))


def _slices_channels(node: onnx.NodeProto, arrays: Mapping[str, NDArray[np.generic]]) -> bool:
    """Return whether `node` is a slice along dimension 1 whose bounds are constants; others find theirs themselves."""
    if node.op_type != "Slice" or not all(name in arrays for name in node.input[1:4]):
        return False
    return bool(arrays[node.input[3]].tolist() == [1])


def _widths(
    nodes: Iterable[onnx.NodeProto],
    arrays: Mapping[str, NDArray[np.generic]],
    *,
    like: Mapping[str, int] | None = None,
) -> dict[str, int]:
    """Return the channels of each activation, as far as they follow from the convolutions before it.

    Args:
        like: the parent's, in whose proportions slices cut; None for the parent itself.
    """
    widths: dict[str, int] = {}
    for node in nodes:
        weight, inputs = _weight(node, arrays), [name for name in node.input if name in widths]
        if weight is not None:
            width = len(weight)
        elif not inputs or node.op_type in _FORGETS_CHANNELS:
            continue
        elif node.op_type == "Concat":
            width = sum(widths[name] for name in inputs)
        else:
            width = widths[inputs[0]]
            if _slices_channels(node, arrays):
                width = _sliced_width(node, arrays, width, width if like is None else like[inputs[0]])
        widths |= dict.fromkeys(node.output, width)
    return widths


def _sliced_width(node: onnx.NodeProto, arrays: Mapping[str, NDArray[np.generic]], width: int, whole: int) -> int:
    start, end = (min(int(arrays[name].item()), whole) for name in node.input[1:3])
    return (end - start) * width // whole
