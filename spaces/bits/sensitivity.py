"""What each layer's bits cost in accuracy, from a few passes of the float detector and without labels.

Each layer's error is made on its own, on the inputs that it has in float32: what its outputs depart by for each option.
The three sensitivities weigh these errors differently. Their costs are taken to add up over the layers.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.func import functional_call

from spaces.activations.fisher import surprise
from spaces.activations.patches import removed_after
from spaces.bits.layer_bits import BitTable
from spaces.bits.quantized import layers_by_name
from spaces.bits.simulation import Simulator
from spaces.networks.twin import twin

Floats = NDArray[np.float64]
Pair = tuple[int, int]  # bits of weights and activations

BATCH = 8


class Sensitivity(Protocol):
    """Predicts what each option of each layer costs."""

    def __call__(self, simulator: Simulator, table: BitTable, images: Tensor, /, *, seed: int) -> Floats:
        """Return the cost of each option of each layer of `table`, (n_layers, n_options), at least 0.

        Args:
            images: float32 (N, 3, H, W) in [0, 1], without labels.
        """
        ...


def sqnr(simulator: Simulator, table: BitTable, images: Tensor, /, *, seed: int) -> Floats:  # noqa: ARG001 (nothing is drawn)
    """Return the energy of each layer's error over that of its outputs, the inverse of its SQNR: one forward pass."""
    sums = _Sums(simulator, table)

    def look(name: str, x: Tensor, y: Tensor) -> None:
        sums.add(name, x, torch.ones_like(y) / y.square().sum().clamp(min=1e-30))

    with torch.no_grad(), _watched(simulator.folded, table.layers, look) as network:
        for batch in images.split(BATCH):
            network(batch)
    return sums.costs() / len(images.split(BATCH))


def fisher(simulator: Simulator, table: BitTable, images: Tensor, /, *, seed: int) -> Floats:
    """Return half the error's square times the Fisher information of each output: one forward and backward pass.

    It is the expected loss of likelihood to second order, of one image, if outputs err independently.
    Source: Theis 2018 (arXiv:1801.05787), as in `spaces.activations.fisher`; for bits Zandonati 2022, FIT
    (arXiv:2210.08502).
    """
    generator = torch.Generator(images.device).manual_seed(seed)
    sums = _Sums(simulator, table)

    def look(name: str, x: Tensor, y: Tensor) -> None:
        y.register_hook(lambda gradient: sums.add(name, x, gradient.square() / 2))

    with torch.enable_grad(), _watched(simulator.folded, table.layers, look) as network:
        for batch in images.split(BATCH):
            surprise(network(batch.clone().requires_grad_())[1], generator).backward()
    return sums.costs() / len(images)


def hessian(simulator: Simulator, table: BitTable, images: Tensor, /, *, seed: int) -> Floats:
    """Return half the error's square times the mean curvature of the loss by each layer's outputs.

    The curvature is the trace of the Hessian over their number, by Hutchinson's estimate, one probe for each batch: a
    forward pass and two backward ones. A trace that is estimated below 0 counts as 0.
    Source: Dong 2020, HAWQ-V2 (arXiv:1911.03852), there by weights; by outputs it covers activations as well.
    """
    curvature, n_batches = _curvature(simulator.folded, table.layers, images, seed=seed), len(images.split(BATCH))
    sums = _Sums(simulator, table)

    def look(name: str, x: Tensor, y: Tensor) -> None:
        mean = max(sum(curvature.get(name, [0.0])) / n_batches, 0.0)
        sums.add(name, x, torch.full_like(y, mean / 2))

    with torch.no_grad(), _watched(simulator.folded, table.layers, look) as network:
        for batch in images.split(BATCH):
            network(batch)
    return sums.costs() / len(images)


SENSITIVITIES: Mapping[str, Sensitivity] = {"sqnr": sqnr, "fisher": fisher, "hessian": hessian}


class _Sums:
    """Weighted squared errors of each layer's outputs, by option, summed over what is added."""

    def __init__(self, simulator: Simulator, table: BitTable) -> None:
        self._simulator = simulator
        self._rows = {
            name: [(int(w), int(a)) for w, a in row] for name, row in zip(table.layers, table.bits, strict=True)
        }
        self._totals: dict[str, dict[Pair, float]] = {
            name: dict.fromkeys(sorted(set(row)), 0.0) for name, row in self._rows.items()
        }

    @torch.no_grad()
    def add(self, name: str, x: Tensor, weights: Tensor) -> None:
        """Add the squared errors of what the layer `name` makes of `x`, times `weights` of the shape of its outputs."""
        layer, totals = self._simulator.layers[name], self._totals[name]
        exact = layer(x)
        for activation in sorted({pair[1] for pair in totals}):
            rounded = self._simulator.grid(name, activation).round(x)
            for bits in (pair[0] for pair in totals if pair[1] == activation):
                found = functional_call(layer, {"weight": self._simulator.weight(name, bits)}, (rounded,))
                totals[bits, activation] += float(((found - exact).square() * weights).sum())

    def costs(self) -> Floats:
        """Return the sums, (n_layers, n_options)."""
        return np.array([[self._totals[name][pair] for pair in row] for name, row in self._rows.items()])


@contextmanager
def _watched(
    folded: nn.Module, names: Sequence[str], look: Callable[[str, Tensor, Tensor], Tensor | None]
) -> Iterator[nn.Module]:
    """Give a copy of `folded` that shows `look` what each named layer reads and makes, or makes what that returns."""
    network = twin(folded)

    def hook(name: str, _: nn.Module, inputs: tuple[Tensor], output: Tensor) -> Tensor | None:
        return look(name, inputs[0], output)

    layers = layers_by_name(network)
    with removed_after(layers[name].register_forward_hook(partial(hook, name)) for name in names):
        yield network


@torch.enable_grad()
def _curvature(folded: nn.Module, names: Sequence[str], images: Tensor, *, seed: int) -> dict[str, list[float]]:
    """Return Hutchinson's estimates of the mean second derivative by each output of each layer, one for each batch."""
    generator = torch.Generator(images.device).manual_seed(seed)
    moved: dict[str, list[Tensor]] = {}
    found: dict[str, list[float]] = {}

    def look(name: str, _: Tensor, y: Tensor) -> Tensor:
        step = torch.zeros_like(y, requires_grad=True)
        moved.setdefault(name, []).append(step)
        return y + step

    with _watched(folded, names, look) as network:
        for batch in images.split(BATCH):
            moved.clear()
            loss = surprise(network(batch)[1], generator)
            steps = [step for each in moved.values() for step in each]
            signs = [torch.randint(0, 2, s.shape, generator=generator, device=s.device) * 2.0 - 1 for s in steps]
            slopes = torch.autograd.grad(loss, steps, create_graph=True, allow_unused=True)
            product = torch.stack([(g * s).sum() for g, s in zip(slopes, signs, strict=True) if g is not None]).sum()
            curved = torch.autograd.grad(product, steps, allow_unused=True)
            owners = [name for name, each in moved.items() for _ in each]
            for name, sign, second in zip(owners, signs, curved, strict=True):
                if second is not None:
                    found.setdefault(name, []).append(float((sign * second).mean()))
    return found
