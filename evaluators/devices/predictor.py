"""The latency of a candidate without building it, fitted to timings of other sub-networks of the same parent.

ONNX Runtime fuses what follows a convolution into it or streams over its output, so the time of a network is taken as
a sum over its convolutions: one part goes with the MACs, one with the values written, and each layer has rates of its
own that are held near the rates of all by ridge regression. The kernels work on blocks of channels: widths are rounded
up to the blocks that predict held-out networks best (16 of both in fp32 with AVX-512), and so is the ridge chosen.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from spaces.channels.graph import ChannelGraph
from spaces.space import affine

Floats = NDArray[np.float64]
Keep = NDArray[np.int64]  # (n, n_genes)

BLOCKS = tuple((reads, writes) for reads in (1, 4, 8, 16) for writes in (1, 8, 16, 32))
RIDGES = (0.001, 0.01, 0.03, 0.1, 0.3, 1.0, 1000.0)
SHRUNK = 0.1  # the penalty of values written and read, which go up and down with the MACs: matters below 50 networks
N_FOLDS = 8
N_SHARED = 4  # columns that all layers share: a constant, MACs, values written, values read


@dataclass(frozen=True, eq=False)
class Geometry:
    """The convolutions of one parent, as far as their widths follow from the genes.

    Attributes:
        kernel: (L,) height times width.
        positions: (L,) output height times width.
        inputs: (L, 1 + n_genes) input channels that a filter reads, affine in keep, the constant in column 0.
        outputs: (L, 1 + n_genes) output channels.
    """

    kernel: Floats
    positions: Floats
    inputs: Floats
    outputs: Floats

    @classmethod
    def of(cls, graph: ChannelGraph, /) -> "Geometry":
        """Return the geometry of the network that `graph` describes."""
        weights = [layer.weight for layer in graph.layers]
        return cls(
            np.array([np.prod(graph.shapes[weight][2:]) for weight in weights], np.float64),
            np.array([layer.positions for layer in graph.layers], np.float64),
            np.stack([affine(graph, weight, 1) for weight in weights]),
            np.stack([affine(graph, weight, 0) for weight in weights]),
        )

    @property
    def n_genes(self) -> int:
        """How many keep counts describe a candidate."""
        return int(self.inputs.shape[1]) - 1

    def columns(self, keep: Keep, blocks: tuple[int, int]) -> Floats:
        """Return what the times are linear in, (n, N_SHARED + 2 L): the shared sums, each layer's MACs, its outputs.

        In units of 1e6 MACs and 1e3 values; for the MACs, channels read and written are rounded up to `blocks`.
        """
        ones = np.column_stack([np.ones(len(keep)), keep])
        reads, writes = ones @ self.inputs.T, ones @ self.outputs.T
        macs = _rounded_up(reads, blocks[0]) * _rounded_up(writes, blocks[1]) * (self.kernel * self.positions / 1e6)
        values, read = writes * (self.positions / 1e3), reads @ (self.positions / 1e3)
        shared = np.column_stack([np.ones(len(keep)), macs.sum(1), values.sum(1), read])
        return np.hstack([shared, macs, values])


@dataclass(frozen=True, eq=False)
class Predictor:
    """Predicts one precision's latency.

    Attributes:
        blocks: of channels read and channels written, to multiples of which widths are rounded up.
        rates: (N_SHARED + 2 L,) milliseconds for each column of `Geometry.columns`.
    """

    blocks: tuple[int, int]
    rates: Floats

    def __call__(self, geometry: Geometry, keep: Keep, /) -> Floats:
        """Return the latency in milliseconds of each row of `keep` (n, n_genes), as an array (n,)."""
        return geometry.columns(keep, self.blocks) @ self.rates


class Fit(NamedTuple):
    """A predictor and what is known of it.

    Attributes:
        ridge: the penalty that was chosen.
        errors: (n,) relative error of each timed network, predicted by a fit to the other folds.
    """

    predictor: Predictor
    ridge: float
    errors: Floats


def fit_latency(geometry: Geometry, keep: Keep, times_ms: Floats, /) -> Fit:
    """Return the predictor of `times_ms` (n,), all above 0, of the networks `keep` (n, n_genes); n is at least 8.

    Squared relative errors are minimised; blocks and ridge are those with the least mean square across folds.
    """
    if len(keep) < N_FOLDS or not (times_ms > 0).all():
        raise ValueError(f"at least {N_FOLDS} networks with times above 0 must be given, got {len(keep)}")
    tried = []
    for blocks in BLOCKS:
        columns = geometry.columns(keep, blocks)
        tried += [(_held_out(columns, times_ms, ridge), blocks, ridge) for ridge in RIDGES]
    errors, blocks, ridge = min(tried, key=lambda each: float(np.square(each[0]).mean()))
    return Fit(Predictor(blocks, _solve(geometry.columns(keep, blocks), times_ms, ridge)), ridge, errors)


def fit_macs(macs: Floats, times_ms: Floats, /) -> tuple[float, float]:
    """Return milliseconds at no MACs and for each unit of `macs` (n,): the usual stand-in, and the peer of ours."""
    columns = np.column_stack([np.ones(len(macs)), macs]) / times_ms[:, None]
    constant, rate = np.linalg.lstsq(columns, np.ones(len(macs)), rcond=None)[0]
    return float(constant), float(rate)


def _held_out(columns: Floats, times_ms: Floats, ridge: float) -> Floats:
    """Return the relative errors (n,) of networks that the fit has not seen."""
    errors = np.zeros(len(times_ms))
    folds = np.arange(len(times_ms)) % N_FOLDS
    for fold in range(N_FOLDS):
        here = folds == fold
        errors[here] = columns[here] @ _solve(columns[~here], times_ms[~here], ridge) / times_ms[here] - 1
    return errors


def _solve(columns: Floats, times_ms: Floats, ridge: float) -> Floats:
    """Return the rates; a layer's own ones are deviations from the shared ones, in proportion to their mean part."""
    shared = np.abs(columns[:, :N_SHARED]).mean(0)
    n_layers = (columns.shape[1] - N_SHARED) // 2
    scale = np.concatenate([shared, np.repeat(shared[1:3], n_layers)])  # a deviation of 1 is one of 100 % of the time
    weighted = columns / scale / times_ms[:, None]
    penalty = np.concatenate([[1e-6, 1e-6, SHRUNK, SHRUNK], np.full(2 * n_layers, ridge)])
    mean_part = np.square(times_ms.mean())
    gram = weighted.T @ weighted + np.diag(penalty) / mean_part
    return np.asarray(np.linalg.solve(gram, weighted.sum(0)) / scale)


def _rounded_up(widths: Floats, block: int) -> Floats:
    return np.ceil(widths / block - 1e-9) * block
