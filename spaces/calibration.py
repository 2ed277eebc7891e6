"""Adaptive BatchNorm: the statistics of a cut network, taken anew from images."""

from collections.abc import Iterable

import torch
from torch import Tensor, nn


@torch.no_grad()
def calibrate_bn_(model: nn.Module, batches: Iterable[Tensor], /) -> None:
    """Re-estimate the BatchNorm statistics of `model` in place; nothing else of it changes.

    The old statistics are reset and the new ones are the plain average over the batches, so nothing of the
    parent's survives (the YOLOv5 port of EagleEye keeps 51 % of them).

    Args:
        model: a network in eval mode; it is in eval mode afterwards.
        batches: float32 images of shape (B, 3, H, W) in [0, 1], all of equal B.

    Raises:
        ValueError: there is no batch.
    Source: Li 2020, EagleEye (arXiv:2007.02491), adaptive batch normalisation.
    """
    layers = [layer for layer in model.modules() if isinstance(layer, nn.BatchNorm2d)]
    momenta = [layer.momentum for layer in layers]
    for layer in layers:
        layer.reset_running_stats()
        layer.momentum = None  # cumulative average
        layer.train()
    n_batches = sum(1 for images in batches if model(images) is not None)
    for layer, momentum in zip(layers, momenta, strict=True):
        layer.momentum = momentum
        layer.eval()
    if n_batches == 0:
        raise ValueError("calibration needs at least one batch of images")
