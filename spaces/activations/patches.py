"""What a layer reads and writes at single places, as the rows of matrices: the view that least squares needs.

A place is one position of a layer's output in one image. A convolution at a place is a row of its input patch times
a matrix of weights; the columns of the patch are ordered by kernel position first, then by channel.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from torch import Tensor, nn
from torch.nn import functional
from torch.utils.hooks import RemovableHandle

FittedLayer = nn.Conv2d | nn.Linear


def fitted_layers(model: nn.Module, /) -> dict[str, FittedLayer]:
    """Return the ungrouped convolutions and the linear layers by name; a head's fixed decoding is not among them."""
    return {
        name: layer
        for name, layer in model.named_modules()
        if (isinstance(layer, nn.Conv2d) and layer.groups == 1 and not name.endswith("dfl.conv"))
        or isinstance(layer, nn.Linear)
    }


@contextmanager
def removed_after(hooks: Iterable[RemovableHandle], /) -> Iterator[None]:
    """Take `hooks` off at the end, also of a forward pass that fails."""
    handles = list(hooks)
    try:
        yield
    finally:
        for hook in handles:
            hook.remove()


def kernel_size(layer: FittedLayer, /) -> int:
    """Return how many values of each input channel the layer reads at a place."""
    return layer.kernel_size[0] * layer.kernel_size[1] if isinstance(layer, nn.Conv2d) else 1


def by_place(maps: Tensor, layer: nn.Module, /) -> Tensor:
    """Return the outputs `maps` of `layer`, (N, C, H, W) or (N, ..., C), as (N, places, C)."""
    if isinstance(layer, nn.Conv2d):
        return maps.permute(0, 2, 3, 1).flatten(1, 2)
    return maps.reshape(len(maps), -1, maps.shape[-1])  # of (N, C), too


def outputs_at(maps: Tensor, layer: FittedLayer, places: Tensor, /) -> Tensor:
    """Return the outputs of `layer` at `places` (n,), which count on through all images, as (n, C)."""
    return by_place(maps, layer).flatten(0, 1).index_select(0, places)


def inputs_at(maps: Tensor, layer: FittedLayer, places: Tensor, /) -> Tensor:
    """Return what `layer` reads of its inputs `maps` to make its output at `places` (n,), as (n, kernel * C)."""
    if isinstance(layer, nn.Linear):
        return maps.flatten(0, -2).index_select(0, places)
    assert not isinstance(layer.padding, str)
    (pad_y, pad_x), (step_y, step_x), (gap_y, gap_x) = layer.padding, layer.stride, layer.dilation
    height, width = layer.kernel_size
    padded = functional.pad(maps, (pad_x, pad_x, pad_y, pad_y)).permute(0, 2, 3, 1)
    n_y, n_x, n_channels = padded.shape[1:]
    out_y = (n_y - gap_y * (height - 1) - 1) // step_y + 1
    out_x = (n_x - gap_x * (width - 1) - 1) // step_x + 1
    image, y, x = places // (out_y * out_x), places // out_x % out_y, places % out_x
    corner = (image * n_y + y * step_y) * n_x + x * step_x
    pixels = padded.reshape(-1, n_channels)
    read = maps.new_empty(len(places), height * width, n_channels)
    for offset in range(height * width):
        dy, dx = divmod(offset, width)
        read[:, offset] = pixels.index_select(0, corner + dy * gap_y * n_x + dx * gap_x)
    return read.flatten(1)


def weight_matrix(layer: FittedLayer, /) -> Tensor:
    """Return the weights as (kernel * inputs, outputs), in the order of the columns of `inputs_at`."""
    if isinstance(layer, nn.Linear):
        return layer.weight.T
    return layer.weight.permute(2, 3, 1, 0).flatten(0, 2)


def set_weights_(layer: FittedLayer, weights: Tensor, bias: Tensor | None, /) -> None:
    """Give `layer` the `weights` (kernel * inputs, outputs) and, if it has one, the `bias`."""
    if isinstance(layer, nn.Linear):
        layer.weight.copy_(weights.T)
    else:
        layer.weight.copy_(weights.unflatten(0, (*layer.kernel_size, -1)).permute(3, 2, 0, 1))
    if layer.bias is not None and bias is not None:
        layer.bias.copy_(bias)
