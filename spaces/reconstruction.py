"""Least-squares reconstruction: a cut network brought back to its parent's outputs, without labels or training.

The calibration images pass through the cut network once. Just before a convolution runs, it is given the weights that
bring its output closest to what the parent computed at the same places, by ridge regression around the inherited
weights, on what its input has become by then. BatchNorm statistics are re-estimated in the same pass.
Errors of earlier layers are thus seen, and made good, by later ones.
Source of the idea for single layers: He 2017, Channel pruning (arXiv:1707.06168); Luo 2017, ThiNet
(arXiv:1707.06342); Frantar 2022, Optimal Brain Compression (arXiv:2208.11580).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional

from spaces.calibration import calibrate_bn_
from spaces.graph import ChannelGraph
from spaces.subnet import Chosen, kept_indices

ROWS = 4096  # sampled output places a layer, over all images
RIDGE = 0.2  # of the mean variance of the inputs; 0.03 loses about 0.05 mAP at half the MACs of the digits parent


@dataclass(frozen=True)
class Reference:
    """What the parent computes on the calibration images.

    Attributes:
        images: float32 (N, 3, H, W) in [0, 1].
        targets: by convolution, its outputs at the sampled places, (N * places, channels).
        places: by convolution, the sampled rows and columns of its output, (2, places).
    """

    images: Tensor
    targets: Mapping[str, Tensor]
    places: Mapping[str, Tensor]


@torch.no_grad()
def observe(parent: nn.Module, images: Tensor, /, *, seed: int) -> Reference:
    """Return what every ordinary convolution of `parent` makes of `images` at sampled places."""
    generator = torch.Generator().manual_seed(seed)
    targets: dict[str, Tensor] = {}
    places: dict[str, Tensor] = {}

    def record(name: str, _: nn.Module, __: tuple[Tensor], output: Tensor) -> None:
        height, width = output.shape[2:]
        n_places = min(height * width, max(ROWS // len(output), 1))
        chosen = torch.randperm(height * width, generator=generator)[:n_places]
        places[name] = torch.stack([chosen // width, chosen % width]).to(output.device)
        targets[name] = _at(output, places[name])

    hooks = [
        layer.register_forward_hook(partial(record, name)) for name, layer in _ordinary_convolutions(parent).items()
    ]
    parent(images)
    for hook in hooks:
        hook.remove()
    return Reference(images, targets, places)


def reconstruct_(subnet: nn.Module, graph: ChannelGraph, chosen: Chosen, reference: Reference, /) -> None:
    """Give `subnet` the weights and the BatchNorm statistics that come closest to its parent's, in place."""
    kept = kept_indices(graph, chosen)

    def solve(name: str, layer: nn.Conv2d, inputs: tuple[Tensor]) -> None:
        target = reference.targets[name]
        index = kept.get((f"{name}.weight", 0))
        if index is not None:
            target = target[:, torch.from_numpy(index).to(target.device)]
        _fit_(layer, _patches(inputs[0], layer, reference.places[name]), target)

    convolutions = _ordinary_convolutions(subnet)
    hooks = [layer.register_forward_pre_hook(partial(solve, name)) for name, layer in convolutions.items()]
    calibrate_bn_(subnet, [reference.images])
    for hook in hooks:
        hook.remove()


def _ordinary_convolutions(model: nn.Module) -> dict[str, nn.Conv2d]:
    """Return the ungrouped trainable convolutions by name; a head's fixed decoding is not among them."""
    layers = {name: layer for name, layer in model.named_modules() if isinstance(layer, nn.Conv2d)}
    return {name: layer for name, layer in layers.items() if layer.groups == 1 and not name.endswith("dfl.conv")}


def _fit_(layer: nn.Conv2d, inputs: Tensor, target: Tensor) -> None:
    """Set the weights of `layer` to those that map `inputs` (n, d) to `target` (n, channels) with least loss.

    Raises:
        torch.linalg.LinAlgError: the inputs are not finite.
    """
    mean_in, mean_out = inputs.mean(0), target.mean(0)
    x, y = inputs - mean_in, target - mean_out
    weights = layer.weight.flatten(1).T  # (d, channels)
    gram = x.T @ x
    # min |x w - y|^2 + ridge |w - w0|^2  <=>  (x'x + ridge) (w - w0) = x'y - x'x w0
    residual = x.T @ y - gram @ weights
    gram.diagonal().add_(RIDGE * gram.diagonal().mean() + 1e-6)
    weights = weights + torch.cholesky_solve(residual, torch.linalg.cholesky(gram))
    layer.weight.copy_(weights.T.reshape(layer.weight.shape))
    if layer.bias is not None:
        layer.bias.copy_(mean_out - mean_in @ weights)


def _patches(images: Tensor, layer: nn.Conv2d, places: Tensor) -> Tensor:
    """Return what `layer` reads at `places` of its output, (N * places, channels * kernel height * kernel width)."""
    assert not isinstance(layer.padding, str)
    (pad_y, pad_x), (step_y, step_x), (gap_y, gap_x) = layer.padding, layer.stride, layer.dilation
    padded = functional.pad(images, (pad_x, pad_x, pad_y, pad_y))
    height, width = layer.kernel_size
    columns = [
        _at(padded, places * places.new_tensor([[step_y], [step_x]]) + places.new_tensor([[dy * gap_y], [dx * gap_x]]))
        for dy in range(height)
        for dx in range(width)
    ]
    return torch.stack(columns, 2).flatten(1)


def _at(maps: Tensor, places: Tensor) -> Tensor:
    """Return the values of `maps` (N, C, H, W) at `places` (2, P), as (N * P, C)."""
    return maps[:, :, places[0], places[1]].transpose(1, 2).flatten(0, 1)
