"""Three convolutions in a row and their channel graph, written down by hand: small enough to reason about."""

from functools import partial

import numpy as np
import torch
from torch import Tensor, nn

from spaces.activations.patches import by_place, fitted_layers
from spaces.channels.graph import Axis, Block, ChannelGraph, Layer

WIDTHS = {"first": 6, "second": 5}


class Chain(nn.Module):
    """A detector-shaped network without BatchNorm."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 6, 3, stride=2, padding=1)
        self.second = nn.Conv2d(6, 5, 1)
        self.last = nn.Conv2d(5, 4, 1)

    def forward(self, images: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the outputs, (B, 4, H / 2, W / 2), in the form of a detector's."""
        output = self.last(self.second(self.first(images).relu()).relu())
        return output, {"boxes": output.flatten(2), "scores": output.flatten(2)}


def chain(seed: int = 0) -> Chain:
    """Return a chain with random weights in eval mode."""
    torch.manual_seed(seed)
    return Chain().eval()


def chain_graph() -> ChannelGraph:
    """Return its graph at 16 px: the outputs of the first two convolutions can be cut."""
    shapes = {name: tuple(tensor.shape) for name, tensor in chain().state_dict().items()}
    axes = {}
    for index, (maker, reader) in enumerate((("first", "second"), ("second", "last"))):
        width = WIDTHS[maker]
        for use in ((f"{maker}.weight", 0), (f"{maker}.bias", 0), (f"{reader}.weight", 1)):
            axes[use] = Axis(np.full(width, index), np.arange(width))
    return ChannelGraph(
        blocks=tuple(Block(name, width, 1) for name, width in WIDTHS.items()),
        axes=axes,
        layers=tuple(Layer(f"{name}.weight", 64, is_depthwise=False) for name in ("first", "second", "last")),
        scales=frozenset(),
        shapes=shapes,
        parameters=tuple(shapes),
        other_macs=0,
        kept_whole={"last": "an output of the network"},
    )


def noise(*shape: int, seed: int = 0) -> Tensor:
    """Return uniform noise in [0, 1) of `shape`."""
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


@torch.no_grad()
def all_places(model: nn.Module, images: Tensor) -> dict[str, Tensor]:
    """Return every place of every fitted layer of `model`."""
    places: dict[str, Tensor] = {}

    def count(name: str, layer: nn.Module, _: tuple[Tensor], output: Tensor) -> None:
        places[name] = torch.arange(by_place(output, layer).flatten(0, 1).shape[0])

    hooks = [layer.register_forward_hook(partial(count, name)) for name, layer in fitted_layers(model).items()]
    model(images)
    for hook in hooks:
        hook.remove()
    return places
