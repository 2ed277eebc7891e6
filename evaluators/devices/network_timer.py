"""The timing of many sub-networks of one parent, float and INT8, each beside the parent itself.

The machine is never as still as a profile is long: on two busy cores INT8 networks of the digits parent differed by
7 % (median of 120) from what the best fit to the others says, and by 2 % once they were timed in turns with their
parent. So a network's time is its ratio to the parent, times what the parent takes.
"""

import time
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import onnx
from numpy.typing import NDArray

from evaluators.devices.onnx_cut import OnnxCutter
from evaluators.latency.sentinel import measure_sentinel
from evaluators.latency.timing import alone_and_pinned
from evaluators.latency.turns import Comparison, compare_calls
from evaluators.runtimes.onnx_runtime import open_call
from spaces.channels.graph import ChannelGraph
from spaces.space import Keep, Space

SECONDS = 0.25  # for one network in one precision: many networks say more than a few that are timed for longer
SENTINEL_EVERY = 10  # networks
LEAST_NETWORKS = 16


@dataclass(frozen=True, eq=False)
class Timings:
    """What was timed of `n` sub-networks.

    Attributes:
        keep: (n, n_genes) their keep counts.
        fp32: their times beside the parent's; `int8` those of the quantized files.
        sentinel_ms: the sentinel's, before, between and after.
        cpus: the processors they ran on, empty where the system pins nothing.
        seconds: what all of it took.
    """

    keep: Keep
    fp32: tuple[Comparison, ...]
    int8: tuple[Comparison, ...]
    sentinel_ms: tuple[float, ...]
    cpus: tuple[int, ...]
    seconds: float


class NetworkTimer:
    """Times sub-networks of one parent in float and INT8.

    Args:
        fp32: the parent as `export_onnx` writes it.
        int8: the parent as `export_int8` writes it.
    """

    def __init__(
        self, fp32: onnx.ModelProto, int8: onnx.ModelProto, /, *, graph: ChannelGraph, space: Space, threads: int
    ) -> None:
        self.threads = threads
        self._cutters = tuple(OnnxCutter(model, graph) for model in (fp32, int8))
        whole = space.decode(space.parent)
        with alone_and_pinned(threads) as self._cpus:  # the sessions' own threads start in it
            self._yardsticks = tuple(open_call(cut(whole), threads=threads) for cut in self._cutters)

    def time(self, networks: Iterable[Keep], /, *, seconds: float, each: float = SECONDS) -> Timings:
        """Return the times of as many of `networks` (n_genes,) as `seconds` allow, 16 at least.

        Args:
            each: about so many seconds go to one network in one precision.
        """
        started = time.monotonic()
        sentinel = [self._sentinel()]
        found: list[tuple[Keep, Comparison, Comparison]] = []
        for keep in networks:
            if len(found) >= LEAST_NETWORKS and time.monotonic() - started >= seconds:
                break
            found.append((keep, *self._compare(keep, each)))
            if len(found) % SENTINEL_EVERY == 0:
                sentinel.append(self._sentinel())
        sentinel.append(self._sentinel())
        kept, fp32, int8 = zip(*found, strict=True)
        return Timings(np.stack(kept), fp32, int8, tuple(sentinel), self._cpus, time.monotonic() - started)

    def _compare(self, keep: Keep, seconds: float) -> tuple[Comparison, Comparison]:
        models = [cut(keep) for cut in self._cutters]
        with alone_and_pinned(self.threads):
            fp32, int8 = (
                compare_calls(open_call(model, threads=self.threads), yardstick, seconds=seconds)
                for model, yardstick in zip(models, self._yardsticks, strict=True)
            )
        return fp32, int8

    def _sentinel(self) -> float:
        return measure_sentinel(threads=self.threads).busy_ms


def draw_networks(space: Space, n: int, /, *, seed: int) -> list[Keep]:
    """Return the keep counts of `n` sub-networks of every size and evenness of widths."""
    low, high = space.reach()["macs_g"]
    networks = []
    for index in range(n):
        rng = np.random.default_rng([seed, index])
        limits, diversity = {"macs_g": rng.uniform(low, high)}, float(rng.uniform())
        networks.append(space.decode(space.sample(rng, limits=limits, diversity=diversity)))
    return networks


def times_ms(comparisons: tuple[Comparison, ...], parent_ms: float, /) -> NDArray[np.float64]:
    """Return the networks' times in milliseconds, (n,): their ratios to the parent times its own."""
    return np.array([each.ratio for each in comparisons]) * parent_ms


def parent_ms(comparisons: tuple[Comparison, ...], /) -> float:
    """Return the parent's own time: the median over all the times that it was the yardstick."""
    return float(np.median([each.yardstick_ms for each in comparisons]))
