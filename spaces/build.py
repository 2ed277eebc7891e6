"""From a candidate to a network: cut, then recover. Quantization will follow in the same place."""

from enum import StrEnum

import torch
from torch import Tensor
from ultralytics.nn.tasks import DetectionModel

from spaces.calibration import calibrate_bn_
from spaces.candidate import Candidate
from spaces.graph import ChannelGraph
from spaces.importance import Importance, contribution, l1
from spaces.reconstruction import observe, reconstruct_
from spaces.space import Space
from spaces.subnet import choose_channels, install, skeleton_of, slice_tensors

BATCH = 16


class Recovery(StrEnum):
    """What is done to a cut network before it is looked at."""

    NOTHING = "nothing"
    ADAPTIVE_BN = "adaptive_bn"
    RECONSTRUCT = "reconstruct"


class Builder:
    """Builds candidates of one parent. The parent is read, never changed.

    Args:
        images: the calibration images, float32 (N, 3, H, W) in [0, 1]; their labels are not needed.
    """

    def __init__(
        self,
        parent: DetectionModel,
        graph: ChannelGraph,
        space: Space,
        *,
        images: Tensor,
        importance: Importance = Importance.CONTRIBUTION,
        recovery: Recovery,
    ) -> None:
        self._tensors = parent.state_dict()
        self._skeleton = skeleton_of(parent)
        self._graph = graph
        self._space = space
        self._images = images
        self._recovery = recovery
        is_l1 = importance is Importance.L1
        self._scores = l1(self._tensors, graph) if is_l1 else contribution(parent, graph, images)
        self._reference = observe(parent, images, seed=0) if recovery is Recovery.RECONSTRUCT else None

    def __call__(self, candidate: Candidate, /) -> DetectionModel:
        """Return the network of `candidate` in eval mode.

        Raises:
            BadInput: the candidate is not of this space.
        """
        keep = self._space.decode(candidate)
        chosen = choose_channels(self._graph, self._scores, keep)
        subnet = install(self._skeleton, slice_tensors(self._tensors, self._graph, chosen))
        assert isinstance(subnet, DetectionModel)
        subnet = subnet.to(memory_format=torch.channels_last)
        if candidate == self._space.parent or self._recovery is Recovery.NOTHING:
            return subnet
        if self._reference is not None:
            reconstruct_(subnet, self._graph, chosen, self._reference)
        else:
            calibrate_bn_(subnet, self._images.split(BATCH))
        return subnet
