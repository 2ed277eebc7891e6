"""Which backbones there are, and where each is cut into the parts that make the features of stride 8, 16 and 32.

A feature is taken at the last layer of its stride: what comes later costs the same and knows more. Left out are
classifiers, the wide convolutions before them (576 and 960 channels in mobilenetv3 and v4) and GhostNet's last stage
at stride 32, 1.6 M weights, more than all of yolov5n's backbone has.
"""

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

import torch
from torch import nn
from torchvision.models import shufflenet_v2_x1_0

from spaces.errors import BadInput

STRIDES = (8, 16, 32)


@dataclass(frozen=True)
class Trunk:
    """A published network that can be a backbone.

    Attributes:
        make: returns all of it, with random weights.
        parts: the paths of the modules that lead to each of STRIDES, in the order in which they run.
    """

    make: Callable[[], nn.Module]
    parts: tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]


def check_backbone(name: str, /) -> None:
    """Make sure that `name` is a backbone.

    Raises:
        BadInput: it is not; the message says which there are, and what else timm knows to speak against it.
    """
    if name not in TRUNKS:
        raise BadInput(f"backbones must be some of {', '.join(TRUNKS)}, got {name!r:.60}{_lack(name)}")


def make_parts(name: str, tensors: Mapping[str, torch.Tensor] | None = None, /) -> tuple[nn.Sequential, ...]:
    """Return the parts of the backbone `name` up to the strides 8, 16 and 32, one after the other.

    Args:
        tensors: by their names in the published network, as `spaces.backbones.pretrained` reads them; without, the
            weights are drawn by torch's global generator.

    Raises:
        BadInput: there is no such backbone.
    """
    check_backbone(name)
    trunk = TRUNKS[name]
    network = trunk.make()
    if tensors is not None:
        network.load_state_dict(tensors, strict=False)
    return tuple(nn.Sequential(*(network.get_submodule(path) for path in paths)) for paths in trunk.parts)


def _timm(name: str) -> nn.Module:
    import timm  # takes as long as torch does, and few runs need it

    network: nn.Module = timm.create_model(name, pretrained=False)
    return network


def _lack(name: str) -> str:
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


def _range(folder: str, start: int, stop: int) -> tuple[str, ...]:
    return tuple(f"{folder}.{index}" for index in range(start, stop))


_STEM = ("conv_stem", "bn1")

TRUNKS: Mapping[str, Trunk] = {
    "ghostnet": Trunk(
        partial(_timm, "ghostnet_100"),
        ((*_STEM, "act1", *_range("blocks", 0, 5)), _range("blocks", 5, 7), _range("blocks", 7, 8)),
    ),
    "shufflenetv2": Trunk(shufflenet_v2_x1_0, (("conv1", "maxpool", "stage2"), ("stage3",), ("stage4",))),
    "mobilenetv3_small": Trunk(
        partial(_timm, "mobilenetv3_small_100"),
        ((*_STEM, *_range("blocks", 0, 2)), _range("blocks", 2, 4), _range("blocks", 4, 5)),
    ),
    "mobilenetv3_large": Trunk(
        partial(_timm, "mobilenetv3_large_100"),
        ((*_STEM, *_range("blocks", 0, 3)), _range("blocks", 3, 5), _range("blocks", 5, 6)),
    ),
    "mobilenetv4_conv_small": Trunk(
        partial(_timm, "mobilenetv4_conv_small"),
        ((*_STEM, *_range("blocks", 0, 2)), _range("blocks", 2, 3), _range("blocks", 3, 4)),
    ),
    "efficientnet_lite0": Trunk(
        partial(_timm, "efficientnet_lite0"),
        ((*_STEM, *_range("blocks", 0, 3)), _range("blocks", 3, 5), _range("blocks", 5, 7)),
    ),
    "lcnet": Trunk(
        partial(_timm, "lcnet_100"),
        ((*_STEM, *_range("blocks", 0, 3)), _range("blocks", 3, 5), _range("blocks", 5, 6)),
    ),
    "repvit": Trunk(
        partial(_timm, "repvit_m0_9"),
        (("stem", *_range("stages", 0, 2)), _range("stages", 2, 3), _range("stages", 3, 4)),
    ),
    "starnet": Trunk(
        partial(_timm, "starnet_s1"),
        (("stem", *_range("stages", 0, 2)), _range("stages", 2, 3), _range("stages", 3, 4)),
    ),
}
