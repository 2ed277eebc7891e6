"""Published networks, made as their libraries make them; timm takes as long to import as torch does."""

import warnings
from collections.abc import Mapping

import torch
import torchvision
from torch import nn

from spaces.detectors.backbones.trunks import STRIDES, TRUNKS, check_backbone


def make_network(name: str, /) -> nn.Module:
    """Return all of the backbone `name`, with random weights."""
    library, _, own = TRUNKS[name].source.partition(":")
    network: nn.Module = _timm(own) if library == "timm" else torchvision.models.get_model(own)
    return network


def make_parts(name: str, tensors: Mapping[str, torch.Tensor] | None = None, /) -> tuple[nn.Sequential, ...]:
    """Return the parts of the backbone `name` up to the strides 8, 16 and 32, one after the other.

    Args:
        tensors: by their names in the published network, as `load_pretrained` reads them; without, the weights are
            drawn by torch's global generator.

    Raises:
        BadInput: there is no such backbone.
    """
    check_backbone(name)
    trunk = TRUNKS[name]
    network = make_network(name)
    if tensors is not None:
        network.load_state_dict(tensors, strict=False)
    return tuple(nn.Sequential(*(network.get_submodule(path) for path in paths)) for paths in trunk.parts)


def _timm(name: str) -> nn.Module:
    import timm

    network: nn.Module = timm.create_model(name, pretrained=False)
    return network


def lack_of(name: str, /) -> str:
    """Return what timm's network `name` lacks to be a backbone, nothing if that is only its place in the list."""
    import timm

    if not timm.is_model(name):
        return ""
    try:
        with torch.device("meta"), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            made = timm.create_model(name, pretrained=False, features_only=True).feature_info.reduction()
    except (RuntimeError, NotImplementedError, AttributeError, TypeError, ValueError, AssertionError):
        return f"; timm cannot take features from {name}"
    missing = [stride for stride in STRIDES if made.count(stride) != 1]
    if not missing:
        return ""
    return f"; the features of {name} have the strides {made}, needed once each are {list(STRIDES)}"
