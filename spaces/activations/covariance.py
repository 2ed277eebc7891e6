"""How the inputs of a parent's layers vary together: all that least squares needs to know of the images.

Places are drawn mostly where the predictions depend on them (Fisher information): background, which is nearly all of
an image, needs fewer examples than objects do. On digits at 40 to 50 % of the MACs that is worth .03 mAP.
"""

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from spaces.activations.patches import FittedLayer, by_place, fitted_layers, inputs_at, kernel_size, removed_after

ROWS = 4096  # places a layer, over all images
FOCUS = 0.8  # of them are drawn by Fisher information, the others uniformly
RIDGE = 0.1  # of the mean variance of the inputs


@dataclass(frozen=True, eq=False)
class Covariance:
    """Of what one layer reads, (d) = kernel size times input channels, as ordered by `patches.inputs_at`.

    Attributes:
        matrix: (d, d), centred.
        mean: (d,).
    """

    matrix: Tensor
    mean: Tensor

    def to(self, device: torch.device) -> "Covariance":
        """Return it on `device`, itself if it is there already."""
        return Covariance(self.matrix.to(device), self.mean.to(device))

    def damped(self, columns: Tensor | None = None) -> Tensor:
        """Return the matrix of `columns`, or of all, with the ridge on its diagonal."""
        matrix = self.matrix.clone() if columns is None else _part(self.matrix, columns, columns)
        matrix.diagonal().add_(RIDGE * self.matrix.diagonal().mean() + 1e-6)
        return matrix

    def fit(self, weights: Tensor, columns: Tensor) -> tuple[Tensor, Tensor]:
        """Return the weights on `columns` that do best without the others, (len(columns), outputs), and a bias.

        Args:
            weights: (d, outputs) on all columns.

        Raises:
            FloatingPointError: the covariance is not finite.
        """
        lost = torch.ones(len(weights), dtype=torch.bool, device=weights.device)
        lost[columns] = False
        missing = self.matrix[columns][:, lost] @ weights[lost]
        fitted = weights[columns] + torch.cholesky_solve(missing, root_of(self.damped(columns)))
        return fitted, self.mean @ weights - self.mean[columns] @ fitted

    def loss(self, weights: Tensor, columns: Tensor) -> Tensor:
        """Return, for each output, the variance that is left unexplained without the other columns, (outputs,)."""
        is_lost = torch.ones(len(weights), dtype=torch.bool, device=weights.device)
        is_lost[columns] = False
        lost, gone = torch.nonzero(is_lost).squeeze(1), weights[is_lost]
        damped = self.damped(columns)
        ridge = damped[0, 0] - self.matrix[columns[0], columns[0]]
        root = root_of(damped)
        half = torch.linalg.solve_triangular(root, _part(self.matrix, columns, lost) @ gone, upper=False)
        shift = torch.linalg.solve_triangular(root.T, half, upper=True)
        # with the error e = (-shift, gone), damped @ shift = s and half = root^-1 s:
        # e' matrix e = gone' matrix gone - 2 shift's + shift' (s - ridge shift)
        variance = (gone * (_part(self.matrix, lost, lost) @ gone)).sum(0)
        unexplained: Tensor = variance - half.square().sum(0) - ridge * shift.square().sum(0)
        return unexplained.clamp_min(0)  # rounding


def _part(matrix: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """Return `matrix[rows][:, columns]`, in a fraction of the time that indexing takes."""
    return matrix.index_select(0, rows).index_select(1, columns)


def root_of(damped: Tensor, /) -> Tensor:
    """Return the lower Cholesky factor of a `damped` covariance (d, d).

    Raises:
        FloatingPointError: it is not finite; the ridge makes any other positive definite.
    """
    factored = torch.linalg.cholesky_ex(damped)
    root: Tensor = factored.L
    if factored.info or not root.isfinite().all():
        raise FloatingPointError("the activations must be finite for least squares, got NaN or infinity")
    return root


def sample_places(fisher: Mapping[str, Tensor], /, *, n_rows: int = ROWS, seed: int) -> dict[str, Tensor]:
    """Return places for each layer, no more than `n_rows`, equally many of each image and each at most once.

    Args:
        fisher: (N, P) by layer, as of `Fisher.places`.

    Returns:
        By layer (n,): image number times P plus the position in the image's output.
    """
    generator = torch.Generator().manual_seed(seed)
    places = {}
    for name, information in fisher.items():
        n_images, n_places = information.shape
        share = information / information.sum(1, keepdim=True).clamp_min(1e-30)
        chances = FOCUS * share + (1 - FOCUS) / n_places
        n_drawn = min(n_places, max(n_rows // n_images, 1))
        drawn = torch.multinomial(chances.cpu(), n_drawn, generator=generator)
        places[name] = (drawn + torch.arange(n_images)[:, None] * n_places).flatten().sort().values
    return places


@torch.no_grad()
def count_places(model: nn.Module, names: Collection[str], /, *, imgsz: int) -> dict[str, int]:
    """Return how many places the output of each of the named layers has, in a square image of `imgsz` pixels."""
    counts: dict[str, int] = {}

    def record(name: str, layer: FittedLayer, _: tuple[Tensor], output: Tensor) -> None:
        counts[name] = by_place(output, layer).shape[1]

    layers = fitted_layers(model)
    with removed_after(layers[name].register_forward_hook(partial(record, name)) for name in names):
        model(torch.zeros(1, 3, imgsz, imgsz))
    return counts


def move_places(places: NDArray[np.int64], /, *, before: int, after: int) -> NDArray[np.int64]:
    """Return where `places` of outputs with `before` positions an image lie in outputs with `after` of them.

    Both are squares of the same image; what is none is taken for a line. Several places may become one.
    """
    image, position = np.divmod(places, before)
    side, new = math.isqrt(before), math.isqrt(after)
    if side**2 != before or new**2 != after:
        return np.asarray(image * after + position * after // before)
    y, x = ((2 * coordinate + 1) * new // (2 * side) for coordinate in np.divmod(position, side))
    return np.asarray(image * after + y * new + x)


@torch.no_grad()
def covariances(parent: nn.Module, images: Tensor, places: Mapping[str, Tensor], /) -> dict[str, Covariance]:
    """Return the covariance of what each layer of `parent` that has `places` reads of `images` there."""
    found: dict[str, Covariance] = {}

    def record(name: str, layer: FittedLayer, inputs: tuple[Tensor]) -> None:
        rows = inputs_at(inputs[0], layer, places[name])
        mean = rows.mean(0)
        rows = rows - mean
        found[name] = Covariance(rows.T @ rows / len(rows), mean)

    layers = fitted_layers(parent)
    with removed_after(layers[name].register_forward_pre_hook(partial(record, name)) for name in places):
        parent(images)
    return found


def kept_columns(layer: FittedLayer, channels: NDArray[np.int64] | None, /) -> Tensor | None:
    """Return the columns of `inputs_at` that belong to the input `channels`; None if that is all of them."""
    n_channels = layer.weight.shape[1]
    if channels is None or len(channels) == n_channels:
        return None
    offsets = np.arange(kernel_size(layer))[:, None] * n_channels
    return torch.from_numpy((offsets + channels).ravel())
