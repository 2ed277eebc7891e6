"""Networks to try the machinery on: every scale of every family, untrained but with lifelike statistics."""

import torch
from torch import nn
from ultralytics.nn.tasks import DetectionModel

from spaces.errors import BadInput
from spaces.recovery.calibration import calibrate_bn_

NETWORKS = (
    "yolov3-tiny", "yolov5n", "yolov5s", "yolov6n", "yolov6s", "yolov8n", "yolov8s", "yolov9t", "yolov9s",
    "yolov10n", "yolov10s", "yolo11n", "yolo11s", "yolo12n", "yolo12s", "yolo26n", "yolo26s",
)  # fmt: skip
ALL = ",".join(NETWORKS)


def read_networks(names: str, /) -> list[str]:
    """Return the networks that are named in `names`, separated by commas.

    Raises:
        BadInput: one of them is not of `NETWORKS`.
    """
    found = names.split(",")
    if odd := next((name for name in found if name not in NETWORKS), None):
        raise BadInput(f"networks must be some of {', '.join(NETWORKS)}, got {odd!r:.60}")
    return found


def untrained(name: str, /, *, n_classes: int = 80, seed: int = 0) -> DetectionModel:
    """Return the Ultralytics detector called `name` ("yolov8n") with random weights, in eval mode.

    BatchNorm weights are random too and the statistics fit them, so that every channel matters and a wrong cut shows.
    """
    torch.manual_seed(seed)
    model = DetectionModel(f"{name}.yaml", nc=n_classes, verbose=False)
    for layer in model.modules():
        if isinstance(layer, nn.BatchNorm2d):
            nn.init.uniform_(layer.weight, 0.5, 1.5)
            nn.init.normal_(layer.bias, 0, 0.2)
    calibrate_bn_(model.eval(), [torch.rand(8, 3, 64, 64)])
    return model
