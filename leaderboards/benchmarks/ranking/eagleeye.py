"""The peer of `bench evaluation`: the loop of the YOLOv5 port of EagleEye, written from its description.

As there: every convolution's keep fraction uniform in 0.2 to 1, rounded up to multiples of 8, with C3.cv1,
Bottleneck.cv2, SPPF.cv2 and the head whole (37 fractions for yolov5n, as there); a whole model built for each
proposal, its FLOPs counted on a deep copy, what is off the target thrown away; channels by L1; BatchNorm at momentum
0.03 over the parent's statistics, on batches of 32 that go on where the candidate before stopped; batches of 64 to
validate, all in contiguous layout; NMS at score 0.001 and IoU 0.6.

In its favour: the images come decoded, and the average precision is ours.
What could not be kept: Ultralytics' yaml takes no width for each layer, so the model built for a proposal has the
parent's widths, and whether it is on target is our arithmetic's answer.
"""

import copy
import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from ultralytics.nn.modules.block import C3, SPPF, Bottleneck
from ultralytics.nn.modules.head import Detect
from ultralytics.nn.tasks import DetectionModel
from ultralytics.utils.nms import non_max_suppression
from ultralytics.utils.torch_utils import get_flops

from evaluators.accuracy.detection import Predictions, to_original
from evaluators.data.images import Images
from leaderboards.runs.problem import Problem
from spaces.channels.graph import Block
from spaces.cutting.subnet import choose_channels, install, slice_tensors
from spaces.importance.from_weights import l1
from spaces.space import Keep

DELTA = 0.02
KEEP_MIN = 0.2
ALIGN = 8
CALIBRATION_BATCH, VALIDATION_BATCH = 32, 64
N_BATCHES = 22
MOMENTUM = 0.03


@dataclass(frozen=True)
class Proposal:
    """Widths that lie on the target.

    Attributes:
        keep: (n_blocks,) channels that stay.
        n_drawn: how many draws it took.
    """

    keep: Keep
    n_drawn: int


class EagleEye:
    """The port's loop on one problem, a step a method."""

    def __init__(self, problem: Problem, calibration: Images, *, share: float, seed: int) -> None:
        self._problem = problem
        self._parent = copy.deepcopy(problem.inputs.parent).to(memory_format=torch.contiguous_format)
        self._tensors = self._parent.state_dict()
        self._share = share
        self._rng = np.random.default_rng(seed)
        self._sizes = np.array([block.size for block in problem.graph.blocks])
        self._is_drawn = np.array([_is_drawn(self._parent, block) for block in problem.graph.blocks])
        self._batches = _endless(calibration)

    def propose(self) -> Proposal:
        """Return the first proposal within 2 % of the target, each of them built as a whole model."""
        n_drawn = 0
        while True:
            n_drawn += 1
            keep = self.draw()
            choose_channels(self._problem.graph, l1(self._tensors, self._problem.graph), keep)
            model = DetectionModel(self._parent.yaml, verbose=False)  # with its forward pass at 256 pixels
            get_flops(copy.deepcopy(model), imgsz=32)
            if self.is_on_target(keep):
                return Proposal(keep, n_drawn)

    def draw(self) -> Keep:
        """Return random widths, wherever they lie."""
        fractions = (1 - KEEP_MIN) * self._rng.random(len(self._sizes)) + KEEP_MIN
        rounded = ALIGN * np.ceil((self._sizes * fractions).astype(np.int64) / ALIGN)
        drawn = np.minimum(np.maximum(rounded, ALIGN).astype(np.int64), self._sizes)
        return np.where(self._is_drawn, drawn, self._sizes)

    def is_on_target(self, keep: Keep, /) -> bool:
        """Return whether the MACs of these widths are within 2 % of the parent's from the target."""
        macs = float(self._problem.space.population_costs(keep[None])["macs_g"][0])
        return abs(macs / self._problem.parent_costs["macs_g"] - self._share) <= DELTA

    def inherit(self, keep: Keep, /) -> nn.Module:
        """Return the network of these widths with the parent's weights, chosen by L1."""
        graph = self._problem.graph
        chosen = choose_channels(graph, l1(self._tensors, graph), keep)
        return install(self._parent, slice_tensors(self._tensors, graph, chosen))

    @torch.no_grad()
    def calibrate_(self, model: nn.Module, /, *, n_batches: int = N_BATCHES) -> None:
        """Let the BatchNorm statistics of `model` drift over the next batches; about half stays the parent's."""
        for layer in model.modules():
            if isinstance(layer, nn.BatchNorm2d):
                layer.momentum = MOMENTUM
        model.train()
        for _ in range(n_batches):
            model(next(self._batches))
        model.eval()


@torch.no_grad()
def forward(model: nn.Module, images: Images, /) -> list[Tensor]:
    """Return the decoded outputs of the port's validation, a tensor for each batch of 64."""
    return [model(batch.contiguous())[0] for batch in images.batches(VALIDATION_BATCH)]


def detect(outputs: list[Tensor], images: Images, /) -> Predictions:
    """Return what the port's NMS leaves of `outputs`, in original pixels."""
    found: list[NDArray[np.float32]] = []
    for batch, part in zip(outputs, images.parts(VALIDATION_BATCH), strict=True):
        kept = non_max_suppression(batch, 0.001, 0.6, multi_label=True, max_time_img=math.inf)
        found += [to_original(boxes.numpy(), part, index) for index, boxes in enumerate(kept)]
    return tuple(found)


def _is_drawn(parent: nn.Module, block: Block) -> bool:
    """Return whether the port gives `block` a random width; a block has the name of the first layer that makes it."""
    owners = [parent.get_submodule(f"model.{name}") for name in _prefixes(block.name)]
    whole = ((C3, "cv1"), (Bottleneck, "cv2"), (SPPF, "cv2"))
    leaf = block.name.rpartition(".")[2]
    is_whole = owners and any(isinstance(owners[-1], kind) and leaf == name for kind, name in whole)
    return not is_whole and not any(isinstance(owner, Detect) for owner in owners)


def _prefixes(name: str) -> list[str]:
    """Return the modules around layer `name`: "2" and "2.m" for "2.m.cv1"."""
    parts = name.split(".")
    return [".".join(parts[:end]) for end in range(1, len(parts))]


def _endless(images: Images) -> Iterator[Tensor]:
    """Yield contiguous batches of 32 in order, from the first image again after the last."""
    start = 0
    while True:
        index = (start + np.arange(CALIBRATION_BATCH)) % len(images)
        yield torch.from_numpy(images.pixels[index]).float() / 255
        start += CALIBRATION_BATCH
