"""Are the structures of seed 002 those that were published? Parameters and GFLOPs of each, beside its table's.

The seed counts on an image of 32 pixels and multiplies by 400 for 640; a BatchNorm counts as two operations for each
output, which are doubled like multiplications; linear layers count, attention itself does not. So gates, which see one
place whatever the image, count 400-fold. True MACs at 640 pixels stand beside it. The table's pruned YOLOv5s is left
out: the seed does not tell its widths.
"""

from collections.abc import Mapping
from contextlib import ExitStack
from typing import NamedTuple

import torch
from torch import Tensor, nn

from leaderboards.benchmarks.record import Cell, Record
from leaderboards.environment import environment
from spaces.detectors.yolov5.detector import build

N_CLASSES = 10  # VisDrone's
PUBLISHED: Mapping[str, tuple[float, float]] = {  # millions of parameters, GFLOPs
    "yolov5n": (1.78, 4.2),
    "yolov5s": (7.05, 15.9),
    "yolov5m": (20.91, 48.2),
    "yolov5l": (46.19, 108.1),
    "yolov5x": (86.28, 204.4),
    "yolov5xP2": (90.96, 314.2),
    "yolov5xP2-CBAM": (91.31, 315.1),
    "yolov5x-TPH": (112.97, 270.8),
    "yolov5l-ghostnet": (24.27, 42.4),
    "yolov5l-shufflenetv2": (21.27, 40.5),
    "yolov5l-mobilenetv3small": (20.38, 38.4),
    "yolov5l-efficientlite0": (23.01, 43.9),
    "yolov5l-pplcnet": (21.64, 41.7),
}


class Work(NamedTuple):
    """What one forward pass does.

    Attributes:
        macs: of convolutions and linear layers.
        normed: outputs of BatchNorm.
    """

    macs: int
    normed: int


def structures() -> Record:
    """Return how many structures differ from the published ones by more than the rounding of the seed's tables."""
    rows = [compare(name, params_m, gflops) for name, (params_m, gflops) in PUBLISHED.items()]
    n_odd = sum(not row["holds"] for row in rows)
    return Record(
        "structures",
        "structures whose parameters or GFLOPs are not those published",
        n_odd,
        "0",
        n_odd == 0,
        rows,
        environment(),
        "python run_search.py bench structures --json",
    )


def compare(name: str, params_m: float, gflops: float, /) -> dict[str, Cell]:
    """Return what the structure called `name` has, beside what was published: millions of parameters, and GFLOPs."""
    with torch.device("meta"):
        model = build(name, n_classes=N_CLASSES)
    n_parameters = sum(parameter.numel() for parameter in model.parameters())
    counted = seed_gflops(model)
    return {
        "structure": name,
        "params": f"{n_parameters:,}",
        "seed_params_m": f"{params_m:.2f}",
        "gflops": f"{counted:.2f}",
        "seed_gflops": f"{gflops:.1f}",
        "gmacs_640": f"{work(model, imgsz=640).macs / 1e9:.2f}",
        "holds": is_printed_as(n_parameters / 1e6, params_m, digits=2) and is_printed_as(counted, gflops, digits=1),
    }


def seed_gflops(model: nn.Module, /) -> float:
    """Return the GFLOPs of `model`, which lies on the meta device, as seed 002 counts them."""
    macs, normed = work(model, imgsz=32)
    return 2 * (macs + 2 * normed) * 400 / 1e9


def work(model: nn.Module, /, *, imgsz: int) -> Work:
    """Return what `model`, which lies on the meta device, does for one image."""
    macs, normed = [], []

    def count(layer: nn.Module, _: tuple[Tensor], output: Tensor) -> None:
        if isinstance(layer, nn.BatchNorm2d):
            normed.append(output.numel())
        elif isinstance(layer, nn.Conv2d):
            macs.append(output.numel() * layer.weight[0].numel())
        elif isinstance(layer, nn.Linear):
            macs.append(output.numel() * layer.in_features)

    with ExitStack() as hooks:
        for layer in model.modules():
            hooks.callback(layer.register_forward_hook(count).remove)
        model.eval()(torch.zeros(1, 3, imgsz, imgsz, device="meta"))
    return Work(sum(macs), sum(normed))


def is_printed_as(value: float, printed: float, /, *, digits: int) -> bool:
    """Return whether `value` is `printed` to so many decimals: the seed's tables are rounded here and cut off there."""
    unit = 10.0**-digits
    return -unit / 2 <= value - printed < unit
