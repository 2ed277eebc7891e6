"""From a candidate to a network: cut, recover, then round to its bits."""

from collections.abc import Callable, Mapping
from functools import cached_property

import torch
from torch import Tensor
from ultralytics.nn.tasks import DetectionModel

from spaces.activations.covariance import Covariance, covariances
from spaces.bits.layer_bits import Allocation, from_picks
from spaces.bits.simulation import simulate
from spaces.candidate import Candidate
from spaces.channels.graph import ChannelGraph
from spaces.cutting.mask import mask_of
from spaces.cutting.masks import mask_
from spaces.cutting.subnet import Chosen, Kept, choose_channels, install, kept_indices, skeleton_of, slice_tensors
from spaces.networks.compute_dtype import ComputeDtype
from spaces.recovery.calibration import calibrate_bn_
from spaces.recovery.reconstruction import observe, reconstruct_, reconstruct_once_
from spaces.recovery.recovery import Recovery
from spaces.space import Space
from spaces.study import Study

BATCH = 16  # images at a time
RANGES = 16  # images that the ranges of a candidate are found on; those of a row take all
RECALIBRATION = 16  # images after one-shot reconstruction: candidates rank as with 8 or 64 (Spearman .919 to .920)


class Builder:
    """Builds candidates of one parent. The parent is read, never changed.

    Args:
        images: the calibration images, float32 (N, 3, H, W) in [0, 1]; their labels are not needed.
        study: what those images have told about the parent.
        precision: of the passes that recover a network, and of those of evaluators that look at it.
    """

    def __init__(
        self,
        parent: DetectionModel,
        graph: ChannelGraph,
        space: Space,
        *,
        images: Tensor,
        study: Study,
        precision: ComputeDtype = ComputeDtype.FLOAT32,
    ) -> None:
        self.parent = parent
        self.graph = graph
        self.space = space
        self.study = study
        self.images = images
        self.precision = precision
        self._tensors = parent.state_dict()
        self._skeleton = skeleton_of(parent)
        self._recover_: dict[Recovery, Callable[[DetectionModel, Kept], None]] = {}

    def __call__(self, candidate: Candidate, recovery: Recovery, /) -> DetectionModel:
        """Return the network of `candidate` in eval mode; the parent's own is never changed by recovering.

        Raises:
            BadInput: the candidate is not of this space.
        """
        network = self.float_network(candidate, recovery)
        allocation = from_picks(candidate.picks)
        return self.quantized(network, allocation, n_images=RANGES) if allocation else network

    def quantized(self, network: DetectionModel, allocation: Allocation, /, *, n_images: int) -> DetectionModel:
        """Return `network` with the bits of `allocation`, its ranges calibrated on the first `n_images`.

        Raises:
            BadInput: a layer that does not exist, too few images, or a layer that reads nothing but 0.
        """
        rounded = simulate(network, allocation, self.images[:n_images])
        assert isinstance(rounded, DetectionModel)
        return rounded

    def float_network(self, candidate: Candidate, recovery: Recovery, /) -> DetectionModel:
        """Return the network of `candidate` as it is before its bits are looked at."""
        chosen = self.chosen(candidate)
        subnet = install(self._skeleton, slice_tensors(self._tensors, self.graph, chosen))
        assert isinstance(subnet, DetectionModel)
        subnet = subnet.to(memory_format=torch.channels_last)
        if candidate.widths:
            if recovery not in self._recover_:
                self._recover_[recovery] = self._recoverer(recovery)
            self._recover_[recovery](subnet, kept_indices(self.graph, chosen))
        if mask := mask_of(candidate):
            mask_(subnet, mask, self.graph)
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

    def _recoverer(self, recovery: Recovery) -> Callable[[DetectionModel, Kept], None]:
        """Return what recovers a cut network in place; what it needs of the parent is computed here, once."""
        match recovery:
            case Recovery.NOTHING:
                return lambda _, __: None
            case Recovery.ADAPTIVE_BN:
                return lambda subnet, _: self._calibrate_(subnet, len(self.images))
            case Recovery.ONE_SHOT:
                return self._reconstruct_once_
            case Recovery.RECONSTRUCT:
                reference = observe(self.parent, self.images, self._places())
                return lambda subnet, kept: reconstruct_(subnet, kept, reference, precision=self.precision)

    def _reconstruct_once_(self, subnet: DetectionModel, kept: Kept) -> None:
        reconstruct_once_(subnet, kept, self.parent, covariances=self.covariances)
        self._calibrate_(subnet, RECALIBRATION)

    def _calibrate_(self, subnet: DetectionModel, n_images: int) -> None:
        calibrate_bn_(subnet, self.images[:n_images].split(BATCH), precision=self.precision)


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
