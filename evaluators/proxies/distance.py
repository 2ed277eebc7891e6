"""How far a candidate's network is from its parent's on images without labels: in its features, and in its outputs."""

from collections.abc import Mapping
from functools import cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from ultralytics.nn.tasks import DetectionModel

from evaluators.accuracy.detection import run
from evaluators.data.images import Images
from evaluators.measure import Evaluator
from evaluators.proxies.distill import distillation_loss
from spaces.build import Builder, Subnet
from spaces.cutting.subnet import kept_indices
from spaces.detectors.yolov5.head import AnchorDetect
from spaces.networks.compute_dtype import ComputeDtype
from spaces.recovery.recovery import Recovery

Raw = Mapping[str, Tensor]  # "boxes", "scores", and "feats", a list of what the head reads at each stride
SUFFIXES = {Recovery.ONE_SHOT: "one_shot", Recovery.RECONSTRUCT: "sequential"}


def to_parent(images: Images, recovery: Recovery, /) -> Evaluator:
    """Return the evaluator of the feature distance and the output distance on `images` after `recovery`."""
    feature, output = (f"{kind}_distance_{SUFFIXES[recovery]}" for kind in ("feature", "output"))
    return distances(images, recovery, (feature, output))


def distances(images: Images, recovery: Recovery, names: tuple[str, str]) -> Evaluator:
    """Return the evaluator of the distances of features and of outputs to the parent, from one forward pass.

    Features: what the head reads, P3 to P5, squared distance over the parent's square, on the channels that stay, the
    mean over the strides. Outputs: the divergence that fine-tuning distils by.

    Args:
        names: of the two readings.
    """

    @cache
    def lessons(builder: Builder) -> list[Raw]:
        return _raw(builder.parent, images, builder.precision)

    def evaluate(subnet: Subnet) -> dict[str, float]:
        builder = subnet.builder
        read = _read_by_head(builder, subnet)
        features, outputs = [], []
        own = _raw(subnet.network(recovery), images, builder.precision)
        for raw, lesson in zip(own, lessons(builder), strict=True):
            features.append(feature_distance(list(raw["feats"]), list(lesson["feats"]), read))
            outputs.append(float(distillation_loss(raw, lesson)))
        return {names[0]: float(np.mean(features)), names[1]: float(np.mean(outputs))}

    return evaluate


def feature_distance(maps: list[Tensor], parent_maps: list[Tensor], kept: list[NDArray[np.int64] | None], /) -> float:
    """Return the squared distance of `maps` to the `kept` channels of `parent_maps` over these' square.

    Args:
        maps: of each stride (B, C, H, W).
        kept: of each stride the parent's channels that `maps` have, None for all.
    """
    shares = []
    for own, whole, index in zip(maps, parent_maps, kept, strict=True):
        target = whole if index is None else whole[:, torch.from_numpy(index).to(whole.device)]
        shares.append(float((own - target).square().sum() / target.square().sum().clamp_min(1e-30)))
    return float(np.mean(shares))


def _read_by_head(builder: Builder, subnet: Subnet) -> list[NDArray[np.int64] | None]:
    """Return, for each stride, which of the parent's channels the candidate's head reads."""
    kept = kept_indices(builder.graph, builder.chosen(subnet.candidate))
    head = len(builder.parent.model) - 1
    with_anchors = isinstance(builder.parent.model[-1], AnchorDetect)
    layer = "m.{}" if with_anchors else "cv2.{}.0.conv"
    levels = range(builder.parent.model[-1].nl)
    return [kept.get((f"model.{head}.{layer.format(level)}.weight", 1)) for level in levels]


def _raw(model: DetectionModel, images: Images, precision: ComputeDtype) -> list[Raw]:
    """Return the raw outputs of each batch of `images`; of a head that trains two ways, those that are deployed."""
    found: list[Raw] = []
    for _, (_, raw) in run(model, images, precision=precision):
        found.append(raw.get("one2one", raw))  # type: ignore[arg-type]
    return found
