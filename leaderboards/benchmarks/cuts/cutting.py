"""Is cutting exact? Every block of every family by half, against the parent with the cut channels masked."""

import time

import numpy as np
import torch
from ultralytics.nn.tasks import DetectionModel

from leaderboards.benchmarks.cuts.networks import ALL, read_networks, untrained
from leaderboards.benchmarks.record import Cell, Record
from leaderboards.environment import environment
from spaces.channels.graph import ChannelGraph
from spaces.channels.trace import trace_channels
from spaces.cutting.probe import TOLERANCE, cut_error, probe
from spaces.cutting.subnet import choose_channels, install, skeleton_of, slice_tensors
from spaces.importance.from_weights import l1
from spaces.space import Keep


def cutting(*, networks: str = ALL) -> Record:
    """Return the largest error over all blocks of all networks, relative to the largest output.

    Args:
        networks: names of Ultralytics' detectors.
    """
    rows = [_row(name) for name in read_networks(networks)]
    worst = max(float(row["worst_error"]) for row in rows)
    return Record(
        "cutting",
        "largest difference of an output to the masked parent, relative to the largest output",
        worst,
        f"at most {TOLERANCE:g}, and every network trains with all blocks at half",
        worst <= TOLERANCE and all(row["trains"] for row in rows),
        rows,
        environment(),
        f"python run_search.py bench cutting networks={networks} --json",
    )


def _row(name: str) -> dict[str, Cell]:
    model = untrained(name)
    started = time.perf_counter()
    graph = probe(model, trace_channels(model, imgsz=640), rng=np.random.default_rng(0))
    seconds = time.perf_counter() - started
    sizes = np.array([block.size for block in graph.blocks])
    halves = np.maximum(1, sizes // 2)
    errors = [
        cut_error(model, graph, np.where(np.arange(len(sizes)) == index, halves, sizes)) for index in range(len(sizes))
    ]
    half = _cut(model, graph, halves)
    return {
        "network": name,
        "blocks": len(sizes),
        "analysis_s": seconds,
        "worst_error": max(errors),
        "all_by_half_error": cut_error(model, graph, halves),
        "params_left": _params(half) / _params(model),
        "trains": _trains(half),
        "kept_whole": ", ".join(f"{layer} ({why})" for layer, why in graph.kept_whole.items()),
    }


def _cut(model: DetectionModel, graph: ChannelGraph, keep: Keep) -> DetectionModel:
    chosen = choose_channels(graph, l1(model.state_dict(), graph), keep)
    cut = install(skeleton_of(model), slice_tensors(model.state_dict(), graph, chosen))
    assert isinstance(cut, DetectionModel)
    return cut


def _params(model: DetectionModel) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def _trains(model: DetectionModel) -> bool:
    """Return whether one step of training leaves every weight finite."""
    raw = model.train()(torch.rand(2, 3, 64, 64))
    branches = [raw[name] for name in ("one2many", "one2one") if name in raw] or [raw]
    sum(branch["boxes"].square().mean() + branch["scores"].square().mean() for branch in branches).backward()
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-6)
    optimizer.step()
    return all(bool(weight.isfinite().all()) for weight in model.parameters())
