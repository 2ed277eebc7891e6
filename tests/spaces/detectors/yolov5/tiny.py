"""Every specification made so narrow and shallow that it runs in an instant."""

from functools import cache

import torch
from torch import nn

from spaces.detectors.yolov5.detector import AnchorDetector, load_spec
from spaces.recovery.calibration import calibrate_bn_


def tiny_spec(name: str, *, width: float = 0.125, depth: float = 0.33) -> dict[str, object]:
    """Return the specification called `name` for 3 classes with other multiples."""
    return {**load_spec(name, n_classes=3), "width_multiple": width, "depth_multiple": depth}


@cache
def tiny(name: str, *, width: float = 0.125, depth: float = 0.33) -> AnchorDetector:
    """Return the network in eval mode with random weights and lifelike statistics: every channel matters."""
    torch.manual_seed(0)
    model = AnchorDetector(tiny_spec(name, width=width, depth=depth))
    for layer in model.modules():
        if isinstance(layer, nn.BatchNorm2d):
            nn.init.uniform_(layer.weight, 0.5, 1.5)
            nn.init.normal_(layer.bias, 0, 0.2)
    calibrate_bn_(model.eval(), [torch.rand(8, 3, 64, 64)])
    return model
