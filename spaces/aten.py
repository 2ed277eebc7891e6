"""What one node of an exported graph does to channels: the little that has to be known about ATen."""

from collections.abc import Sequence

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
    }
)
UNITING = frozenset({"add", "sub", "mul", "div", "maximum", "minimum"})
READING_ONLY_THE_TYPE = frozenset({"type_as", "new_full", "new_zeros", "new_ones", "new_empty"})


def operation(node: Node) -> str:
    """Return the plain name of the operation: "silu" for aten.silu_.default."""
    schema = getattr(node.target, "_schema", None)
    return str(schema.name).removeprefix("aten::").rstrip("_") if schema else str(getattr(node.target, "__name__", ""))


def dimension_of(node: Node, position: int) -> int:
    """Return the dimension that argument `position` of `node` names, counted from 0; -1 if it names none."""
    value = node.kwargs.get("dim", node.args[position] if len(node.args) > position else 0)
    first = node.args[0][0] if isinstance(node.args[0], Sequence) else node.args[0]
    rank = first.meta["val"].dim()  # type: ignore[union-attr]
    return int(value) % rank if isinstance(value, int) else -1


def keeps_channels(node: Node) -> bool:
    """Return whether the mean that `node` takes is over height and width alone, both kept."""
    dimensions = node.args[1] if len(node.args) > 1 else None
    keeps = len(node.args) > 2 and bool(node.args[2])
    return keeps and isinstance(dimensions, Sequence) and {int(d) % 4 for d in dimensions} == {2, 3}  # type: ignore[arg-type]
