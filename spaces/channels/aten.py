"""What one node of an exported graph does to channels: the little that has to be known about ATen.

The channels of a tensor are its dimension 1, or several from 1 on where a reshape has split them.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from torch.fx import Node

PASSING = frozenset(
    {
        "silu",
        "relu",
        "relu6",
        "sigmoid",
        "tanh",
        "hardswish",
        "hardsigmoid",
        "hardtanh",
        "leaky_relu",
        "rrelu",
        "celu",
        "selu",
        "hardshrink",
        "softshrink",
        "log_sigmoid",
        "abs",
        "gelu",
        "mish",
        "elu",
        "softplus",
        "clamp",
        "dropout",
        "max_pool2d",
        "avg_pool2d",
        "adaptive_avg_pool2d",
        "upsample_nearest2d",
        "upsample_bilinear2d",
        "clone",
        "contiguous",
        "alias",
        "detach",
        "to",
        "_to_copy",
        "type_as",
    }
)
UNITING = frozenset({"add", "sub", "mul", "div", "maximum", "minimum"})
MAKING_ANEW = frozenset({"new_full", "new_zeros", "new_ones", "new_empty"})
READING_ONLY_THE_TYPE = MAKING_ANEW | {"type_as"}  # of all inputs or of the second
RESHAPING = frozenset({"view", "reshape", "_unsafe_view", "flatten", "unflatten", "squeeze", "unsqueeze"})
KEEPING = frozenset({"mean", "amax", "pad", "constant_pad_nd", "slice"})  # passing, if their arguments say so


def operation(node: Node) -> str:
    """Return the plain name of the operation: "silu" for aten.silu_.default."""
    schema = getattr(node.target, "_schema", None)
    return str(schema.name).removeprefix("aten::").rstrip("_") if schema else str(getattr(node.target, "__name__", ""))


def shape_of(node: object, /) -> tuple[int, ...]:
    """Return the shape of the tensor that `node` makes, () if it makes none."""
    value = node.meta.get("val") if isinstance(node, Node) else None
    return tuple(getattr(value, "shape", ()))


def dimension_of(node: Node, position: int) -> int:
    """Return the dimension that argument `position` of `node` names, counted from 0; -1 if it names none."""
    value = node.kwargs.get("dim", node.args[position] if len(node.args) > position else 0)
    rank = len(shape_of(node.args[0][0] if isinstance(node.args[0], Sequence) else node.args[0]))
    return int(value) % rank if isinstance(value, int) else -1


def keeps_channels(node: Node, name: str, /) -> bool:
    """Return whether `node`, one of KEEPING, leaves the channels of (B, C, H, W) where they are."""
    before, after = shape_of(node.args[0]), shape_of(node)
    if len(before) != 4 or before[:2] != after[:2] or len(after) != 4:
        return False
    if name in ("mean", "amax"):
        dimensions = node.args[1] if len(node.args) > 1 else ()
        return isinstance(dimensions, Sequence) and {int(d) % 4 for d in dimensions} <= {2, 3}  # type: ignore[arg-type]
    return True  # a slice of all channels, or a margin around each


def reshaped(node: Node, channels: NDArray[np.int64], /) -> NDArray[np.int64] | None:
    """Return `channels` of the input in the shape that `node` gives them, None if it joins them with other dimensions.

    Batch, channels and places stay in that order, so where the sizes agree the elements do.
    """
    before, after = shape_of(node.args[0]), shape_of(node)
    if len(after) < 2 or before[0] != after[0]:
        return None
    for end in range(2, len(after) + 1):
        if np.prod(after[1:end]) == channels.size:
            return channels.reshape(after[1:end])
    return None


def permuted(node: Node, channels: NDArray[np.int64], /) -> NDArray[np.int64] | None:
    """Return `channels` of the input in the order that `node` gives them, None if they leave their place."""
    rank, n = len(shape_of(node)), channels.ndim
    if operation(node) == "transpose":
        first, second = (int(d) % rank for d in node.args[1:3])  # type: ignore[arg-type]
        order = list(range(rank))
        order[first], order[second] = second, first
    else:
        order = [int(d) % rank for d in node.args[1]]  # type: ignore[union-attr, arg-type]
    if order[0] != 0 or sorted(order[1 : n + 1]) != list(range(1, n + 1)):
        return None
    return channels.transpose([d - 1 for d in order[1 : n + 1]])
