import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from spaces.detectors.backbones.published import make_network, make_parts
from spaces.detectors.backbones.trunks import TRUNKS, check_backbone
from spaces.errors import BadInput

# the last layers before each stride ends, in the tables of the publications; GhostNet's stops before its last stage
CHANNELS = {
    "ghostnet": (40, 112, 160),
    "shufflenetv2": (116, 232, 464),
    "mobilenetv3_small": (24, 48, 96),
    "mobilenetv3_large": (40, 112, 160),
    "mobilenetv4_conv_small": (64, 96, 128),
    "efficientnet_lite0": (40, 112, 320),
    "lcnet": (128, 256, 512),
    "repvit": (96, 192, 384),
    "starnet": (48, 96, 192),
}


@pytest.mark.parametrize("name", TRUNKS)
def test_parts_compute_what_the_published_network_computes_at_strides_8_16_and_32(name: str) -> None:
    torch.manual_seed(0)
    published = make_network(name).eval()
    seen: dict[str, Tensor] = {}
    for paths in TRUNKS[name].parts:

        def keep(_: nn.Module, __: object, output: Tensor, path: str = paths[-1]) -> None:
            seen[path] = output

        published.get_submodule(paths[-1]).register_forward_hook(keep)
    x = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        published(x)
        parts = make_parts(name, published.state_dict())
        for part, paths, stride, channels in zip(parts, TRUNKS[name].parts, (8, 16, 32), CHANNELS[name], strict=True):
            x = part.eval()(x)
            assert x.shape == (1, channels, 64 // stride, 64 // stride)
            assert torch.equal(x, seen[paths[-1]])


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("ghosnet", "backbones must be some of ghostnet, shufflenetv2, .*, got 'ghosnet'; did you mean 'ghostnet'\\?$"),
        ("shvit_s1", r"features of shvit_s1 have the strides \[16, 32, 64\], needed once each are \[8, 16, 32\]$"),
        ("resnet18", "got 'resnet18'$"),  # it could be one, it is only not in the list
        ("hf-hub:someone/something", "got 'hf-hub:someone/something'$"),
    ],
)
def test_what_is_no_backbone_is_refused_with_the_reason(name: str, told: str) -> None:
    with pytest.raises(BadInput, match=told):
        check_backbone(name)


def test_detectors_are_opened_without_the_library_of_backbones() -> None:
    root = Path(__file__).resolve().parents[4]
    code = "import sys, spaces.detectors.detector; sys.exit('timm' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=root, check=False).returncode == 0
