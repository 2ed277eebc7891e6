"""Which backbones there are, and where each is cut into the parts that make the features of stride 8, 16 and 32.

A feature is taken at the last layer of its stride: what comes later costs the same and knows more. Left out are
classifiers, the wide convolutions before them (576 and 960 channels in mobilenetv3 and v4) and GhostNet's last stage
at stride 32, 1.6 M weights, more than all of yolov5n's backbone has.
"""

import difflib
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pkgutil import resolve_name

from spaces.errors import BadInput

STRIDES = (8, 16, 32)


@dataclass(frozen=True)
class Trunk:
    """A published network that can be a backbone.

    Attributes:
        source: the library that has it and its name there, as in "timm:ghostnet_100".
        parts: the paths of the modules that lead to each of STRIDES, in the order in which they run.
    """

    source: str
    parts: tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]


def check_backbone(name: str, /) -> None:
    """Make sure that `name` is a backbone.

    Raises:
        BadInput: it is not; the message says which there are and which is the nearest, and where torch is loaded,
            what speaks against another of timm's networks.
    """
    if name in TRUNKS:
        return
    close = difflib.get_close_matches(name, TRUNKS, n=1)
    hint = f"; did you mean {close[0]!r}?" if close else ""
    raise BadInput(f"backbones must be some of {', '.join(TRUNKS)}, got {name!r:.60}{_lack(name)}{hint}")


def _lack(name: str) -> str:
    """Return what timm's network `name` lacks to be a backbone, nothing if that is unknown before torch is loaded."""
    if "torch" not in sys.modules:
        return ""
    lack_of: Callable[[str], str] = resolve_name("spaces.detectors.backbones.published:lack_of")
    return lack_of(name)


def _range(folder: str, start: int, stop: int) -> tuple[str, ...]:
    return tuple(f"{folder}.{index}" for index in range(start, stop))


_STEM = ("conv_stem", "bn1")

TRUNKS: Mapping[str, Trunk] = {
    "ghostnet": Trunk(
        "timm:ghostnet_100",
        ((*_STEM, "act1", *_range("blocks", 0, 5)), _range("blocks", 5, 7), _range("blocks", 7, 8)),
    ),
    "shufflenetv2": Trunk("torchvision:shufflenet_v2_x1_0", (("conv1", "maxpool", "stage2"), ("stage3",), ("stage4",))),
    "mobilenetv3_small": Trunk(
        "timm:mobilenetv3_small_100",
        ((*_STEM, *_range("blocks", 0, 2)), _range("blocks", 2, 4), _range("blocks", 4, 5)),
    ),
    "mobilenetv3_large": Trunk(
        "timm:mobilenetv3_large_100",
        ((*_STEM, *_range("blocks", 0, 3)), _range("blocks", 3, 5), _range("blocks", 5, 6)),
    ),
    "mobilenetv4_conv_small": Trunk(
        "timm:mobilenetv4_conv_small",
        ((*_STEM, *_range("blocks", 0, 2)), _range("blocks", 2, 3), _range("blocks", 3, 4)),
    ),
    "efficientnet_lite0": Trunk(
        "timm:efficientnet_lite0",
        ((*_STEM, *_range("blocks", 0, 3)), _range("blocks", 3, 5), _range("blocks", 5, 7)),
    ),
    "lcnet": Trunk(
        "timm:lcnet_100",
        ((*_STEM, *_range("blocks", 0, 3)), _range("blocks", 3, 5), _range("blocks", 5, 6)),
    ),
    "repvit": Trunk(
        "timm:repvit_m0_9",
        (("stem", *_range("stages", 0, 2)), _range("stages", 2, 3), _range("stages", 3, 4)),
    ),
    "starnet": Trunk(
        "timm:starnet_s1",
        (("stem", *_range("stages", 0, 2)), _range("stages", 2, 3), _range("stages", 3, 4)),
    ),
}
