"""Which layers of a quantized detector err most: each layer's output against that of the same network in float.

The errors are those of the running network: a layer's own rounding, and what it reads from layers that have erred.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from evaluators.data.images import Images
from spaces.activations.patches import removed_after
from spaces.bits.quantized import as_float_, layers_by_name, quantized_layers
from spaces.networks.twin import Network, twin

BATCH = 4  # what all layers make of these images is kept


@torch.no_grad()
def layer_sqnr(network: nn.Module, reference: nn.Module, images: Images, /) -> dict[str, float]:
    """Return the signal-to-quantization-noise ratio in dB of what each quantized layer makes of `images`, by name.

    A layer that makes no error has none and is left out, as is one that never runs.

    Args:
        network: a quantized detector in eval mode.
        reference: the detector in float that it stands for, BatchNorm folded; see `unrounded`.
    """
    names = list(quantized_layers(network))
    signal, noise = dict.fromkeys(names, 0.0), dict.fromkeys(names, 0.0)
    exact: dict[str, list[Tensor]] = {}

    def keep(name: str, output: Tensor) -> None:
        exact.setdefault(name, []).append(output.clone())  # what comes next may write into it

    def compare(name: str, output: Tensor) -> None:
        expected = exact[name].pop(0)
        signal[name] += float(expected.square().sum())
        noise[name] += float((expected - output).square().sum())

    device = next(network.parameters()).device
    for batch in images.batches(BATCH):
        exact.clear()
        _run(reference, batch.to(device), names, keep)
        _run(network, batch.to(device), names, compare)
    return {name: 10 * math.log10(max(signal[name], 1e-30) / noise[name]) for name in names if noise[name] > 0}


def worst_layers(network: nn.Module, reference: nn.Module, images: Images, /, *, n: int = 5) -> dict[str, float]:
    """Return the `n` lowest of `layer_sqnr`, the worst first."""
    found = layer_sqnr(network, reference, images)
    return {name: found[name] for name in sorted(found, key=found.__getitem__)[:n]}


def unrounded(network: Network, /) -> Network:
    """Return a copy of a quantized `network` that computes with the float weights behind its own and rounds nothing."""
    copied = twin(network)
    for layer in quantized_layers(copied).values():
        as_float_(layer)
    return copied


def _run(network: nn.Module, batch: Tensor, names: list[str], look: Callable[[str, Tensor], None]) -> None:
    """Show `look` what each of the layers `names` makes of `batch`."""
    layers = layers_by_name(network)
    hooks = (layers[name].register_forward_hook(lambda _, __, output, name=name: look(name, output)) for name in names)
    with removed_after(hooks):
        network(batch)
