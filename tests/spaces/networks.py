"""Untrained detectors whose every channel matters, so that a wrong cut cannot go unseen."""

from functools import cache

import torch
from torch import nn
from ultralytics.cfg import get_cfg
from ultralytics.nn.tasks import DetectionModel

from spaces.calibration import calibrate_bn_


@cache
def detector(name: str = "yolov5n", *, n_classes: int = 10) -> DetectionModel:
    """Return an Ultralytics detector with random weights and the statistics that go with them, in eval mode."""
    torch.manual_seed(0)
    model = DetectionModel(f"{name}.yaml", nc=n_classes, verbose=False)
    for layer in model.modules():
        if isinstance(layer, nn.BatchNorm2d):
            nn.init.uniform_(layer.weight, 0.5, 1.5)
            nn.init.normal_(layer.bias, 0, 0.2)
    calibrate_bn_(model.eval(), [torch.rand(8, 3, 64, 64)])
    model.names = {index: f"class {index}" for index in range(n_classes)}
    model.args = get_cfg()
    return model
