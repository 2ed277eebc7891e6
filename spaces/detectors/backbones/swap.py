"""Another backbone under a detector's own neck and head.

The new layers stand at the old ones' numbers, with empty layers (`nn.Identity`) where there are more numbers than
layers: what the neck reads, what its tensors are called and what the YAML says of it all stay right. Before each
feature a 1x1 convolution brings the backbone's channels to those that the neck was trained on. It is there even
where the counts agree: a cut parent, rebuilt from its YAML at full width, must find the same layers; and its SiLU
gives the features the range that the neck knows, which a backbone's last layer, linear or ReLU, does not.
"""

import copy
from collections.abc import Iterable, Mapping
from typing import NamedTuple

import torch
from torch import Tensor, nn
from ultralytics.nn.modules import C2PSA, PSA, SPP, SPPELAN, SPPF, Conv
from ultralytics.nn.tasks import DetectionModel
from ultralytics.utils.torch_utils import initialize_weights

from spaces.detectors.backbones.published import make_parts
from spaces.detectors.backbones.trunks import STRIDES
from spaces.detectors.departures import KEY, renamed
from spaces.errors import BadInput

BACKBONE_NAME = "backbone_name"  # the key of a description that names the backbone in the place of its own
KEPT = (SPP, SPPF, SPPELAN, PSA, C2PSA)  # at the end of a backbone they work on its last feature and stay
_SIZE = 64  # of the image that the shapes are read from


class Places(NamedTuple):
    """Where in a network its backbone is.

    Attributes:
        read: the numbers of the layers that the neck reads, of stride 8, 16 and 32.
        last: the number of the last layer that is replaced; those after it, up to read[2], stay.
    """

    read: tuple[int, int, int]
    last: int


class Backbone(nn.Module):
    """The layers of a detector that its neck reads: images in, features of stride 8, 16 and 32 out.

    It shares its layers with the detector it is made of.

    Raises:
        BadInput: the neck reads other strides.
    """

    def __init__(self, model: DetectionModel) -> None:
        super().__init__()
        self.places = find_places(model)
        self.layers = nn.ModuleList(list(model.model)[: self.places.read[-1] + 1])

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Return the features that the neck reads."""
        outputs = _run(self.layers, images)
        return tuple(outputs[index] for index in self.places.read)


def swap_backbone(
    parent: DetectionModel, name: str, tensors: Mapping[str, Tensor] | None = None, /, *, seed: int = 0
) -> DetectionModel:
    """Return a copy of `parent` in eval mode whose backbone is the one called `name`, untrained.

    Neck and head, and pooling and attention at the end of the parent's backbone, keep their tensors.

    Args:
        tensors: pretrained ones of the backbone, as `load_pretrained` returns them.
        seed: of the weights that are drawn.

    Raises:
        BadInput: there is no such backbone, or the parent has no neck that reads features of stride 8, 16 and 32.
    """
    model = copy.deepcopy(parent).eval()
    places = find_places(model)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        layers = _new_layers(list(model.model), places, make_parts(name, tensors))
    model.model = nn.Sequential(*layers, *list(model.model)[places.last + 1 :])
    model.save = sorted({index for layer in model.model for index in _sources(layer, of_those_before=False)})
    model.yaml = {**model.yaml, BACKBONE_NAME: name}
    if KEY in model.yaml:
        model.yaml[KEY] = renamed(model.yaml[KEY], lambda layer: layer if _number(layer) > places.last else None)
    return model.eval()


def find_places(model: DetectionModel, /) -> Places:
    """Return where the backbone of `model` is.

    Raises:
        BadInput: its neck does not read features of stride 8, 16 and 32.
    """
    n_layers = len(model.yaml["backbone"])
    layers = list(model.model)[:n_layers]
    neck = list(model.model)[n_layers:]
    read = sorted({index for layer in neck for index in _sources(layer) if index < n_layers})
    shapes = _shapes(layers)
    strides = [_SIZE // shapes[index][-1] for index in read]
    last = n_layers - 1
    while last > 0 and isinstance(layers[last], KEPT):
        last -= 1
    is_known = strides == list(STRIDES) and read[-1] == n_layers - 1
    if not is_known or min(read[0] + 1, read[1] - read[0], last - read[1]) < 2:  # a part and its convolution
        raise BadInput(
            f"a backbone can be replaced only under a neck that reads one feature of each of the strides "
            f"{list(STRIDES)}, the last layer's among them; this one reads {strides}"
        )
    return Places((read[0], read[1], read[2]), last)


def _new_layers(old: list[nn.Module], places: Places, parts: tuple[nn.Sequential, ...]) -> list[nn.Module]:
    """Return the layers up to `places.last`: for each stride empty ones, the backbone's part, and its convolution."""
    wanted = _shapes(old[: places.last + 1])
    layers: list[nn.Module] = []
    source = -1  # of the next part
    for part, place in zip(parts, (*places.read[:2], places.last), strict=True):
        while len(layers) < place - 1:
            layers.append(_placed(nn.Identity(), number=len(layers), source=-1))
        layers.append(_placed(part, number=place - 1, source=source))
        source = place - 1
        adapter = Conv(_shapes(layers)[source][1], wanted[place][1], 1)
        initialize_weights(adapter)
        layers.append(_placed(adapter, number=place, source=-1))
    return layers


def _number(name: str) -> int:
    """Return the number of the layer of the network in which the layer called `name` is."""
    return int(name.split(".")[1])


def _placed(layer: nn.Module, *, number: int, source: int) -> nn.Module:
    """Return `layer` with the attributes that Ultralytics gives to every layer of a network."""
    weights = sum(parameter.numel() for parameter in layer.parameters())
    layer.i, layer.f, layer.type, layer.np = number, source, type(layer).__name__, weights  # type: ignore[assignment]
    return layer


def _sources(layer: nn.Module, *, of_those_before: bool = True) -> list[int]:
    """Return the numbers of the layers that `layer` reads, with or without what the layer before it hands on."""
    number, written = layer.i, [layer.f] if isinstance(layer.f, int) else list(layer.f)  # type: ignore[arg-type]
    assert isinstance(number, int)
    return [number + index if index < 0 else index for index in written if of_those_before or index != -1]


def _shapes(layers: list[nn.Module]) -> list[torch.Size]:
    """Return the shapes of the outputs of `layers`, the first of a network, for an image of _SIZE pixels."""
    still = copy.deepcopy(nn.Sequential(*layers)).eval()
    with torch.no_grad():
        outputs = _run(still.children(), torch.zeros(1, 3, _SIZE, _SIZE))
    if not all(isinstance(output, Tensor) for output in outputs):
        raise BadInput("a backbone can be replaced only if each of its layers makes one feature")
    return [output.shape for output in outputs]


def _run(layers: Iterable[nn.Module], images: Tensor) -> list[Tensor]:
    """Return the output of each of `layers`, the first of a network."""
    outputs: list[Tensor] = []
    x = images
    for layer in layers:
        source = layer.f
        if isinstance(source, int):
            x = layer(x if source == -1 else outputs[source])
        else:
            x = layer([x if index == -1 else outputs[index] for index in source])  # type: ignore[union-attr]
        outputs.append(x)
    return outputs
