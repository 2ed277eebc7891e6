"""Checkpoints of the original YOLOv5 repository, versions 5 to 7, read without its code.

Such a file holds the whole network object. Its classes are those of the folders `models` and `utils`, whose names
YOLOv7 and others use, too.
"""

from torch import Tensor

from spaces.detectors.checkpoint import Checkpoint, stored_layers, strides_of
from spaces.detectors.departures import StoredLayer
from spaces.detectors.description import check_channels, plain
from spaces.detectors.stored import StoredNetwork, check_trainable, ordered_names
from spaces.errors import BadInput

HOMES = ("models.", "utils.", "torch.nn.modules.")
DETECTORS = ("models.yolo.Model", "models.yolo.DetectionModel")
HEAD = "models.yolo.Detect"
SPEC_KEYS = ("depth_multiple", "width_multiple", "backbone", "head")
_OF_HEAD = ("i", "f", "nc", "nl", "na", "no")  # what their head and ours have in common beside tensors
_YOLOV7 = (
    *("models.yolo.IDetect", "models.yolo.IAuxDetect", "models.yolo.IBin", "models.common.RepConv", "models.common.MP"),
    *("models.common.SP", "models.common.SPPCSPC", "models.common.ImplicitA", "models.common.ImplicitM"),
)


def is_legacy(stored: StoredNetwork, /) -> bool:
    """Return whether a network is of the original repository, or of one with its names."""
    return stored.network.path.startswith(("models.", "utils."))


def read_legacy(stored: StoredNetwork, /) -> Checkpoint:
    """Return what a network of the original YOLOv5 holds; its `yaml` is a spec with anchors in pixels.

    Raises:
        BadInput: it is fused, of another task or of another version.
    """
    told = f"weights: {str(stored.path)!r}"
    kinds = dict.fromkeys(layer.path for layer in stored.layers.values())
    if theirs := [kind for kind in _YOLOV7 if kind in kinds]:
        raise BadInput(f"{told} is of YOLOv7 ({', '.join(theirs[:3])}); of such files only YOLOv5 v5 to v7 is read")
    if stored.network.path not in DETECTORS:
        raise BadInput(f"{told} is a {stored.network.path:.60}; only detection models are supported")
    head = next((name for name, layer in stored.layers.items() if layer.path == HEAD), None)
    if head is None:
        last = list(stored.layers.values())[-1].path if stored.layers else "none"
        raise BadInput(f"{told} has no {HEAD} of YOLOv5 v5 to v7, its last layer is {last:.60}; only these are read")
    if odd := next((kind for kind in kinds if not kind.startswith(HOMES)), None):
        raise BadInput(f"{told} has a layer {odd:.60}, which YOLOv5 does not have; refused")
    check_trainable(stored)
    tensors = stored.tensors()
    tensors.pop(f"{head}.anchor_grid", None)  # the anchors once more, up to version 5
    names, yaml, strides = ordered_names(stored), plain(stored.mapping("yaml")), strides_of(stored, head)
    check_channels(yaml, told=f"{told}: the network")
    anchors = _in_pixels(tensors[f"{head}.anchors"], strides)
    spec = {"nc": len(names), "anchors": anchors, **{key: yaml[key] for key in SPEC_KEYS}}
    layers = stored_layers(stored)
    kept = {key: layers[head].attributes[key] for key in _OF_HEAD if key in layers[head].attributes}
    return Checkpoint(spec, names, tensors, {**layers, head: StoredLayer(HEAD, kept)}, strides)


def _in_pixels(anchors: Tensor, strides: tuple[float, ...]) -> list[list[float]]:
    """Return width, height, width, ... of each level, from `anchors` (levels, n, 2) in units of `strides`."""
    pixels: list[list[float]] = [
        (level.float() * stride).flatten().tolist() for level, stride in zip(anchors, strides, strict=True)
    ]
    return pixels
