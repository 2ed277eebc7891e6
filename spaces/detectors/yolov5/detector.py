"""The original YOLOv5 as a detector of this project, built from a specification, and the specifications there are.

It is an Ultralytics `DetectionModel` with an anchor-based head, so whatever takes one takes it. Tensors are named as
in the files of the YOLOv5 repository.
"""

import copy
import math
from collections.abc import Callable, Mapping
from pathlib import Path

import torch
import yaml
from torch import Tensor, nn
from ultralytics.cfg import get_cfg
from ultralytics.nn.modules.block import C3, SPP
from ultralytics.nn.modules.conv import Concat, Conv, Focus
from ultralytics.nn.tasks import DetectionModel
from ultralytics.utils.torch_utils import initialize_weights

from spaces.detectors.yolov5.attention import CBAM, c3tr
from spaces.detectors.yolov5.head import AnchorDetect
from spaces.detectors.yolov5.layers import (
    ConvMaxPool,
    DepthSepConv,
    GhostBottleneck,
    MBConv,
    MobileUnit,
    ShuffleUnit,
    activated_conv,
    bottleneck,
    sppf,
)
from spaces.detectors.yolov5.loss import AnchorLoss
from spaces.detectors.yolov5.spec import Row, Spec, read_spec
from spaces.detectors.yolov5.swin import c3str
from spaces.errors import BadInput

LAYERS: Mapping[str, Callable[..., nn.Module]] = {
    "Conv": Conv,
    "C3": C3,
    "SPPF": sppf,
    "SPP": SPP,
    "Focus": Focus,
    "Bottleneck": bottleneck,
    "Concat": Concat,
    "nn.Upsample": nn.Upsample,
    "ActivatedConv": activated_conv,
    "ConvMaxPool": ConvMaxPool,
    "GhostBottleneck": GhostBottleneck,
    "ShuffleUnit": ShuffleUnit,
    "MobileUnit": MobileUnit,
    "MBConv": MBConv,
    "DepthSepConv": DepthSepConv,
    "CBAM": CBAM,
    "C3TR": c3tr,
    "C3STR": c3str,
    "Detect": AnchorDetect,
}
SPECS: Mapping[str, tuple[str, str]] = {  # name: file, scale
    "yolov5n": ("yolov5", "n"),
    "yolov5s": ("yolov5", "s"),
    "yolov5m": ("yolov5", "m"),
    "yolov5l": ("yolov5", "l"),
    "yolov5x": ("yolov5", "x"),
    "yolov5l-ghostnet": ("ghostnet", "l"),
    "yolov5l-shufflenetv2": ("shufflenetv2", "l"),
    "yolov5l-mobilenetv3small": ("mobilenetv3small", "l"),
    "yolov5l-efficientlite0": ("efficientlite0", "l"),
    "yolov5l-pplcnet": ("pplcnet", "l"),
    "yolov5xP2": ("p2", "x"),
    "yolov5xP2-CBAM": ("p2_cbam", "x"),
    "yolov5x-TPH": ("tph", "x"),
    "yolov5x-Swin": ("swin", "x"),
}
_SCALES = {"n": (0.33, 0.25), "s": (0.33, 0.50), "m": (0.67, 0.75), "l": (1.0, 1.0), "x": (1.33, 1.25)}
_REPEATING = ("C3", "C3TR", "C3STR")  # take their repeats inside
_TWO_WIDTHS = ("GhostBottleneck", "MobileUnit")  # the width of their inside is scaled, too
_KEEPING = ("nn.Upsample", "CBAM")  # take no width
_IMAGE = 256  # pixels, on which strides are found
_MISFITS = (ArithmeticError, AssertionError, AttributeError, LookupError, RuntimeError, TypeError, ValueError)
_MAX_PARAMETERS = 500_000_000
_MAX_MAP = 100_000_000  # values of one layer's output on that image


class AnchorDetector(DetectionModel):  # type: ignore[misc]
    """A detector with anchors.

    Attributes:
        yaml: the specification.
        names: of the classes, their numbers until someone names them.
        args: the gains of the training loss.
        stride: pixels of each level, (nl,).

    Args:
        spec: see `spaces.detectors.yolov5.spec`.

    Raises:
        BadInput: it is no specification, or its layers do not fit each other.
    """

    def __init__(self, spec: Mapping[str, object]) -> None:
        nn.Module.__init__(self)
        checked = read_spec(spec, tuple(LAYERS))
        self.save = sorted({layer for index, row in enumerate(checked.rows) for layer in row.remembered(index)})
        with torch.device("meta"):  # what is absurd shows here, before it takes memory
            self.model = _layers(checked)
            strides = self._strides()
        self.model = _layers(checked)
        self.yaml = copy.deepcopy(dict(spec))
        self.names = {index: str(index) for index in range(checked.n_classes)}
        self.args = get_cfg()
        self.stride = torch.tensor(strides, dtype=torch.float32, device="cpu")
        self.head.set_strides_(strides)
        initialize_weights(self)
        _set_biases_(self.head)
        self.train()

    @property
    def head(self) -> AnchorDetect:
        """The last layer."""
        head = self.model[-1]
        assert isinstance(head, AnchorDetect)
        return head

    def init_criterion(self) -> AnchorLoss:
        """Return the training loss."""
        return AnchorLoss(self.head)

    def _strides(self) -> list[int]:
        """Return how many pixels of the image one place of each level of the head spans."""
        for layer in self.model:
            layer.register_forward_hook(_check_map)
        self.eval()
        self.head.training = True
        try:
            raw = self(torch.zeros(1, 3, _IMAGE, _IMAGE, device="meta"))
        except _MISFITS as error:
            raise BadInput(f"the layers of the network do not fit each other: {_said(error)}") from error
        sides = [tuple(level.shape[2:]) for level in raw["feats"]]
        if any(height != width or _IMAGE % height for height, width in sides):
            raise BadInput(f"the sides of the levels must divide {_IMAGE} pixels, got {sides!r:.80}")
        return [_IMAGE // height for height, _ in sides]


def load_spec(name: str, *, n_classes: int = 80) -> dict[str, object]:
    """Return the specification called `name`.

    Raises:
        BadInput: there is none of that name.
    """
    if name not in SPECS:
        raise BadInput(f"a specification must be one of {', '.join(SPECS)}, got {name!r:.60}")
    file, scale = SPECS[name]
    rows = yaml.safe_load((Path(__file__).parent / "specs" / f"{file}.yaml").read_text(encoding="utf-8"))
    depth, width = _SCALES[scale]
    return {"nc": n_classes, "depth_multiple": depth, "width_multiple": width, **rows}


def build(name: str, *, n_classes: int = 80) -> AnchorDetector:
    """Return the untrained detector whose specification is called `name`, in training mode.

    Raises:
        BadInput: there is none of that name.
    """
    return AnchorDetector(load_spec(name, n_classes=n_classes))


def _layers(spec: Spec) -> nn.Sequential:
    """Return the layers, each with what Ultralytics' forward pass needs to know of it.

    Raises:
        BadInput: a layer does not take its arguments, or there are too many parameters.
    """
    widths: list[int] = []
    layers: list[nn.Module] = []
    n_parameters = 0
    for index, row in enumerate(spec.rows):
        read = [widths[source] if source >= 0 else 3 for source in row.sources(index)]
        try:
            layer, width = _layer(spec, row, read)
        except _MISFITS as error:
            raise BadInput(f"row {index}, {row.layer}, cannot be built from its arguments: {_said(error)}") from error
        for name, value in (("i", index), ("f", row.source), ("type", row.layer)):
            setattr(layer, name, value)
        layers.append(layer)
        widths.append(width)
        sizes = [parameter.numel() for parameter in layer.parameters()]
        n_parameters += sum(sizes)
        if 0 in sizes:
            raise BadInput(f"row {index}, {row.layer}, must not have an empty tensor")
        if n_parameters > _MAX_PARAMETERS:
            raise BadInput(f"a network must have at most {_MAX_PARAMETERS} parameters, row {index} is above that")
    return nn.Sequential(*layers)


def _layer(spec: Spec, row: Row, read: list[int]) -> tuple[nn.Module, int]:
    """Return the layer of `row`, which reads maps of the widths `read`, and its own width."""
    make, arguments = LAYERS[row.layer], list(row.arguments)
    if row.layer == "Detect":
        return make(spec.n_classes, spec.anchors, read), 0
    if row.layer == "Concat":
        return make(*arguments), sum(read)
    if row.layer in _KEEPING:
        return make(*([] if row.layer == "nn.Upsample" else read), *arguments), read[0]
    n_widths = 2 if row.layer in _TWO_WIDTHS else 1
    widths = [spec.width(written) for written in arguments[:n_widths]]
    if row.layer in _REPEATING:
        return make(read[0], *widths, row.repeats, *arguments[n_widths:]), widths[0]
    made = [make(read[0], *widths, *arguments[n_widths:]) for _ in range(row.repeats)]
    return made[0] if row.repeats == 1 else nn.Sequential(*made), widths[0]


def _said(error: Exception) -> str:
    """Return the beginning of what `error` says, in one line."""
    return " ".join(str(error).split())[:100]


def _check_map(layer: nn.Module, _: object, output: object) -> None:
    if isinstance(output, Tensor) and output.numel() > _MAX_MAP:
        raise BadInput(f"row {layer.i}, {layer.type}, makes a map of {tuple(output.shape)} of a small image")


@torch.no_grad()
def _set_biases_(head: AnchorDetect) -> None:
    """Let `head` expect 8 objects in an image of 640 pixels, and .6 of a class for each.

    Source: Lin 2017, Focal loss (arXiv:1708.02002), section 3.3; the figures are YOLOv5's.
    """
    for layer, stride in zip(head.m, head.stride, strict=True):
        biases = layer.bias.view(head.na, head.no)  # type: ignore[operator]
        biases[:, 4] += math.log(8 / (640 / stride) ** 2)
        biases[:, 5:] += math.log(0.6 / (head.nc - 0.999999))
