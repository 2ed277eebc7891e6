"""Networks to try the machinery on: every scale of every family, untrained but with lifelike statistics."""

import torch
from torch import nn
from ultralytics.nn.tasks import DetectionModel

from spaces.calibration import calibrate_bn_


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
