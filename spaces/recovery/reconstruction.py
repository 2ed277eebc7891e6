"""Least-squares reconstruction: a cut network brought back to its parent's outputs, without labels or training.

Sequential: the calibration images pass through the cut network once. Just before a layer runs, it is given the
weights that bring its output closest to what the parent computed at the same places, by ridge regression around the
inherited weights, on what its input has become by then. BatchNorm statistics are re-estimated in the same pass.
Errors of earlier layers are thus seen, and made good, by later ones.

One-shot: the same for each layer by itself, as if its input were the parent's, from the parent's covariances alone.
No image passes through the network.

Source of the idea for single layers: He 2017, Channel pruning (arXiv:1707.06168); Luo 2017, ThiNet
(arXiv:1707.06342); Frantar 2022, Optimal Brain Compression (arXiv:2208.11580).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

from spaces.activations.covariance import Covariance, kept_columns, root_of
from spaces.activations.patches import (
    FittedLayer,
    fitted_layers,
    inputs_at,
    outputs_at,
    removed_after,
    set_weights_,
    weight_matrix,
)
from spaces.cutting.subnet import Kept
from spaces.networks.autocast import exact_products
from spaces.networks.compute_dtype import ComputeDtype
from spaces.recovery.calibration import calibrate_bn_

RIDGE = 0.1  # of the mean variance of the inputs; .05 to .2 differ by less than .01 mAP on digits, .4 loses .025


@dataclass(frozen=True, eq=False)
class Reference:
    """What the parent computes on the calibration images.

    Attributes:
        images: float32 (N, 3, H, W) in [0, 1].
        targets: by layer, its outputs at its places, (n, channels).
        places: by layer, as of `sample_places`.
    """

    images: Tensor
    targets: Mapping[str, Tensor]
    places: Mapping[str, Tensor]


@torch.no_grad()
def observe(parent: nn.Module, images: Tensor, places: Mapping[str, Tensor], /) -> Reference:
    """Return what every layer of `parent` that has `places` makes of `images` there."""
    targets: dict[str, Tensor] = {}

    def record(name: str, layer: FittedLayer, _: tuple[Tensor], output: Tensor) -> None:
        targets[name] = outputs_at(output, layer, places[name])

    layers = fitted_layers(parent)
    with removed_after(layers[name].register_forward_hook(partial(record, name)) for name in places):
        parent(images)
    return Reference(images, targets, places)


def reconstruct_(
    subnet: nn.Module, kept: Kept, reference: Reference, /, *, precision: ComputeDtype = ComputeDtype.FLOAT32
) -> None:
    """Give `subnet` the weights and the BatchNorm statistics that come closest to its parent's, in place.

    Args:
        kept: the parent's indices that each of its dimensions has, as of `kept_indices`.

    Raises:
        FloatingPointError: the activations are not finite.
    """

    def solve(name: str, layer: FittedLayer, inputs: tuple[Tensor]) -> None:
        target = reference.targets[name]
        index = kept.get((f"{name}.weight", 0))
        if index is not None:
            target = target[:, torch.from_numpy(index).to(target.device)]
        with exact_products():
            _fit_(layer, inputs_at(inputs[0], layer, reference.places[name]).float(), target)

    layers = fitted_layers(subnet)
    with removed_after(layers[name].register_forward_pre_hook(partial(solve, name)) for name in reference.targets):
        calibrate_bn_(subnet, [reference.images], precision=precision)


@torch.no_grad()
def reconstruct_once_(
    subnet: nn.Module, kept: Kept, parent: nn.Module, /, *, covariances: Mapping[str, Covariance]
) -> None:
    """Give `subnet` the weights that make good, layer by layer, what is cut from its parent's inputs, in place.

    Its BatchNorm statistics are left as they are, to be re-estimated afterwards.

    Args:
        kept: the parent's indices that each of its dimensions has, as of `kept_indices`.

    Raises:
        FloatingPointError: the covariances are not finite.
    """
    originals = fitted_layers(parent)
    layers = fitted_layers(subnet)
    for name in covariances:
        layer = layers[name]
        read, made = kept.get((f"{name}.weight", 1)), kept.get((f"{name}.weight", 0))
        columns = kept_columns(originals[name], read)
        if columns is None:
            continue
        weights = weight_matrix(originals[name])
        columns = columns.to(weights.device)
        weights = weights if made is None else weights[:, torch.from_numpy(made).to(weights.device)]
        fitted, shift = covariances[name].fit(weights, columns)
        set_weights_(layer, fitted, None if layer.bias is None else layer.bias + shift)


def _fit_(layer: FittedLayer, inputs: Tensor, target: Tensor) -> None:
    """Set the weights of `layer` to those that map `inputs` (n, d) to `target` (n, channels) with least loss."""
    mean_in, mean_out = inputs.mean(0), target.mean(0)
    x, y = inputs - mean_in, target - mean_out
    weights = weight_matrix(layer)  # (d, channels)
    gram = x.T @ x
    # min |x w - y|^2 + ridge |w - w0|^2  <=>  (x'x + ridge) (w - w0) = x'(y - x w0)
    residual = x.T @ (y - x @ weights)
    gram.diagonal().add_(RIDGE * gram.diagonal().mean() + 1e-6)
    weights = weights + torch.cholesky_solve(residual, root_of(gram))
    set_weights_(layer, weights, mean_out - mean_in @ weights)
