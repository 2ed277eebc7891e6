"""Quantization simulated: a detector whose convolutions and linear layers compute what integers of few bits would.

BatchNorm is folded first. Then each layer that has bits holds weights that lie on a grid, one for each output channel,
and rounds what it reads to another one, whose range is that of the calibration images. Sums and all between the layers
stay in float32, as do matrix products of attention.
"""

from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

from spaces.activations.patches import removed_after
from spaces.bits.layer_bits import Allocation, Protection, protect
from spaces.bits.quantized import layers_by_name, quantizable, quantize_
from spaces.bits.ranges import Grid, Histogram, RangeMethod, Samples, fit_grid
from spaces.errors import BadInput
from spaces.networks.folding import fold_bn
from spaces.networks.twin import twin

MIN_IMAGES = 8  # of fewer, the extremes say little about the images to come
BATCH = 16


@dataclass(frozen=True)
class Scheme:
    """How tensors are put on grids.

    Attributes:
        weights: how the range of weights is found.
        activations: how that of what a layer reads is found.
        is_per_channel: whether each output channel's weights have a grid of their own.
    """

    weights: RangeMethod = RangeMethod.MSE
    activations: RangeMethod = RangeMethod.MSE
    is_weight_symmetric: bool = True
    is_activation_symmetric: bool = False
    is_per_channel: bool = True

    def __post_init__(self) -> None:
        """Refuse entropy where there is no distribution to speak of."""
        if self.weights is RangeMethod.ENTROPY:
            raise BadInput("weights must be min_max, percentile or mse, got entropy: a channel has too few of them")


class Simulator:
    """Simulates allocations of one detector, whose ranges are found once.

    Args:
        model: in eval mode; it is read, never changed.
        images: for calibration, float32 (N, 3, H, W) in [0, 1], at least 8; their labels are not needed.

    Attributes:
        folded: `model` without BatchNorm, in float32.
        layers: its convolutions and linear layers by name.

    Raises:
        BadInput: too few images.
        FloatingPointError: a layer reads NaN or infinity.
    """

    def __init__(
        self,
        model: nn.Module,
        images: Tensor,
        /,
        *,
        scheme: Scheme | None = None,
        protection: Protection | None = None,
    ) -> None:
        if len(images) < MIN_IMAGES:
            raise BadInput(f"calibration images must be at least {MIN_IMAGES}, got {len(images)}")
        self.folded = fold_bn(model)
        self._tensors = tuple(quantizable(self.folded))
        self.layers = layers_by_name(self.folded)
        self._scheme = scheme or Scheme()
        self._protection = protection or Protection()
        self._histograms = _observe(self.folded, images)
        self._grids: dict[tuple[str, int], Grid] = {}
        self._weight_grids: dict[tuple[str, int], Grid] = {}

    def __call__(self, allocation: Allocation, /) -> nn.Module:
        """Return the detector under `allocation`; all that has no bits shares its tensors with `folded`.

        Raises:
            BadInput: a layer that does not exist, or that reads nothing but 0.
        """
        network = twin(self.folded)
        layers = layers_by_name(network)
        for name, bits in protect(allocation, self._tensors, protection=self._protection).items():
            if name in self._histograms:
                weights, inputs = self.weight_grid(name, bits.weight), self.grid(name, bits.activation)
                quantize_(layers[name], bits, weights=weights, inputs=inputs)
        return network

    def weight_grid(self, name: str, bits: int, /) -> Grid:
        """Return the grid of `bits` that a layer's weights are rounded to."""
        if (name, bits) not in self._weight_grids:
            weight = self.layers[name].weight.detach()
            rows = weight.flatten(1) if self._scheme.is_per_channel else weight.flatten()[None]
            is_symmetric, method = self._scheme.is_weight_symmetric, self._scheme.weights
            grid = fit_grid(Samples.of(rows), bits=bits, is_symmetric=is_symmetric, method=method)
            self._weight_grids[name, bits] = grid
        return self._weight_grids[name, bits]

    def weight(self, name: str, bits: int, /) -> Tensor:
        """Return the weights of a layer on their grid of `bits`."""
        return self.weight_grid(name, bits).round(self.layers[name].weight.detach())

    def grid(self, name: str, bits: int, /) -> Grid:
        """Return the grid of `bits` that a layer's inputs are rounded to.

        Raises:
            BadInput: it read nothing but 0.
        """
        if (name, bits) not in self._grids:
            seen = self._histograms[name]
            if seen.is_zero:
                raise BadInput(f"layer {name} reads nothing but 0 in all calibration images, so it has no range")
            is_symmetric, method = self._scheme.is_activation_symmetric, self._scheme.activations
            self._grids[name, bits] = fit_grid(seen.samples(), bits=bits, is_symmetric=is_symmetric, method=method)
        return self._grids[name, bits]


def simulate(
    model: nn.Module,
    allocation: Allocation,
    images: Tensor,
    /,
    *,
    scheme: Scheme | None = None,
    protection: Protection | None = None,
) -> nn.Module:
    """Return a copy of `model` under `allocation`, its ranges calibrated on `images`; see `Simulator`."""
    return Simulator(model, images, scheme=scheme, protection=protection)(allocation)


@torch.no_grad()
def _observe(model: nn.Module, images: Tensor) -> dict[str, Histogram]:
    """Return by name what each layer that runs reads of `images`."""
    seen: dict[str, Histogram] = {}

    def look(name: str, _: nn.Module, inputs: tuple[Tensor]) -> None:
        seen.setdefault(name, Histogram()).add(inputs[0])

    layers = layers_by_name(model)
    with removed_after(layer.register_forward_pre_hook(partial(look, name)) for name, layer in layers.items()):
        for batch in images.split(BATCH):
            model(batch)
    return seen
