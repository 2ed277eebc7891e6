"""What a `.pt` of Ultralytics holds, of whatever version, without ever running what it says."""

from collections.abc import Mapping
from typing import NamedTuple

from torch import Tensor
from ultralytics.nn.tasks import DetectionModel

from spaces.detectors.departures import KEY, StoredLayer, check_code
from spaces.detectors.description import check_channels, plain
from spaces.detectors.stored import StoredNetwork, check_trainable, ordered_names
from spaces.errors import BadInput

DETECTORS = ("DetectionModel", "YOLOv10DetectionModel")
HEADS = ("Detect", "v10Detect")
_HOMES = ("ultralytics.", "torch.nn.modules.")


class Checkpoint(NamedTuple):
    """What a file says of a detector: plain data and tensors.

    Attributes:
        yaml: the description of its layers, as JSON can hold it.
        names: the classes in the order of their ids.
        tensors: its state dict.
        layers: by their names in it.
        strides: of its levels in pixels.
    """

    yaml: Mapping[str, object]
    names: tuple[str, ...]
    tensors: Mapping[str, Tensor]
    layers: Mapping[str, StoredLayer]
    strides: tuple[float, ...]


def read_ultralytics(stored: StoredNetwork, /) -> Checkpoint:
    """Return what the network of an Ultralytics checkpoint holds.

    Raises:
        BadInput: it is no detector, of another task, fused, or has layers that are not Ultralytics'.
    """
    told, kind = f"weights: {str(stored.path)!r}", stored.network.path.rpartition(".")[2]
    head = next((name for name, layer in stored.layers.items() if layer.path.rpartition(".")[2] in HEADS), None)
    if kind not in DETECTORS:
        raise BadInput(f"{told} is a {kind:.60}; of Ultralytics' networks only {' and '.join(DETECTORS)} are read")
    if head is None:
        raise BadInput(f"{told} has no head of {' or '.join(HEADS)}; only these are read")
    check_trainable(stored)
    for name, layer in stored.layers.items():
        if name.startswith("model.") and not layer.path.startswith(_HOMES):
            raise BadInput(f"{told} has layer {name:.60}, a {layer.path:.60}, which is not Ultralytics'; refused")
    check_code(StoredLayer(kind, stored.network.state), DetectionModel, "the network")
    yaml = plain(stored.mapping("yaml"))
    check_channels(yaml, told=f"{told}: the network")
    yaml.pop(KEY, None)  # what departs is seen on the layers
    names, n_classes = ordered_names(stored), stored.layers[head].state.get("nc")
    if len(names) != n_classes:
        raise BadInput(f"{told} names {len(names)} classes, and its head scores {n_classes!r:.40}")
    return Checkpoint(
        yaml,
        names,
        {name: tensor for name, tensor in stored.tensors().items() if name.startswith("model.")},
        stored_layers(stored),
        strides_of(stored, head),
    )


def stored_layers(stored: StoredNetwork, /) -> dict[str, StoredLayer]:
    """Return what is written on each layer."""
    return {name: StoredLayer(layer.path, layer.state) for name, layer in stored.layers.items()}


def strides_of(stored: StoredNetwork, head: str, /) -> tuple[float, ...]:
    """Return the strides that the layer called `head` holds.

    Raises:
        ValueError: it holds none.
    """
    return tuple(stored.tensor(stored.layers[head].state.get("stride")).float().tolist())
