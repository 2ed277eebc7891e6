"""From a candidate to a network: cut, then recover. Quantization will follow in the same place."""

from collections.abc import Callable, Mapping
from enum import StrEnum
from functools import cached_property

import torch
from torch import Tensor
from ultralytics.nn.tasks import DetectionModel

from spaces.calibration import calibrate_bn_
from spaces.candidate import Candidate
from spaces.covariance import Covariance, covariances
from spaces.graph import ChannelGraph
from spaces.reconstruction import BATCH, observe, reconstruct_, reconstruct_once_
from spaces.space import Space
from spaces.study import Study
from spaces.subnet import Chosen, choose_channels, install, skeleton_of, slice_tensors


class Recovery(StrEnum):
    """What is done to a cut network before it is looked at, the cheapest first."""

    NOTHING = "nothing"
    ADAPTIVE_BN = "adaptive_bn"
    ONE_SHOT = "one_shot"
    RECONSTRUCT = "reconstruct"


class Builder:
    """Builds candidates of one parent. The parent is read, never changed.

    Args:
        images: the calibration images, float32 (N, 3, H, W) in [0, 1]; their labels are not needed.
        study: what those images have told about the parent.
    """

    def __init__(
        self, parent: DetectionModel, graph: ChannelGraph, space: Space, *, images: Tensor, study: Study
    ) -> None:
        self.parent = parent
        self.graph = graph
        self.space = space
        self.study = study
        self.images = images
        self._tensors = parent.state_dict()
        self._skeleton = skeleton_of(parent)
        self._recover_: dict[Recovery, Callable[[DetectionModel, Chosen], None]] = {}

    def __call__(self, candidate: Candidate, recovery: Recovery, /) -> DetectionModel:
        """Return the network of `candidate` in eval mode; the parent's own is never changed by recovering.

        Raises:
            BadInput: the candidate is not of this space.
        """
        chosen = self.chosen(candidate)
        subnet = install(self._skeleton, slice_tensors(self._tensors, self.graph, chosen))
        assert isinstance(subnet, DetectionModel)
        subnet = subnet.to(memory_format=torch.channels_last)
        if candidate != self.space.parent:
            if recovery not in self._recover_:
                self._recover_[recovery] = self._recoverer(recovery)
            self._recover_[recovery](subnet, chosen)
        return subnet

    def chosen(self, candidate: Candidate, /) -> Chosen:
        """Return which channels of each block `candidate` keeps.

        Raises:
            BadInput: the candidate is not of this space.
        """
        return choose_channels(self.graph, self.study.scores, self.space.decode(candidate))

    @cached_property
    def covariances(self) -> Mapping[str, Covariance]:
        """What the parent's layers read of the images, by layer; computed when it is first asked for."""
        return covariances(self.parent, self.images, self._places())

    def _places(self) -> dict[str, Tensor]:
        return {name: torch.tensor(index, device=self.images.device) for name, index in self.study.places.items()}

    def _recoverer(self, recovery: Recovery) -> Callable[[DetectionModel, Chosen], None]:
        """Return what recovers a cut network in place; what it needs of the parent is computed here, once."""
        match recovery:
            case Recovery.NOTHING:
                return lambda _, __: None
            case Recovery.ADAPTIVE_BN:
                return lambda subnet, _: calibrate_bn_(subnet, self.images.split(BATCH))
            case Recovery.ONE_SHOT:
                return lambda subnet, chosen: reconstruct_once_(
                    subnet, self.parent, self.graph, chosen, self.covariances, self.images
                )
            case Recovery.RECONSTRUCT:
                reference = observe(self.parent, self.images, self._places())
                return lambda subnet, chosen: reconstruct_(subnet, self.graph, chosen, reference)


class Subnet:
    """One candidate, built only as far as it is asked for."""

    def __init__(self, candidate: Candidate, builder: Builder) -> None:
        self.candidate = candidate
        self.builder = builder
        self._networks: dict[Recovery, DetectionModel] = {}

    def network(self, recovery: Recovery, /) -> DetectionModel:
        """Return the network after `recovery`, built once; measure it, don't change it."""
        if recovery not in self._networks:
            self._networks[recovery] = self.builder(self.candidate, recovery)
        return self._networks[recovery]
