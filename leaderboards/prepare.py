"""From a recipe to a problem: everything checked, loaded and analysed, and nothing written yet."""

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from ultralytics.nn.tasks import DetectionModel

from evaluators.budget import Budget
from evaluators.dataset import Dataset, load_dataset
from evaluators.digits import render_digits
from evaluators.latency import measure_latency
from leaderboards.export import export_onnx
from leaderboards.recipe import EMBEDDED, LIMITS, Recipe
from spaces.channels import trace_channels
from spaces.detector import Architecture, load_detector
from spaces.errors import BadInput
from spaces.graph import ChannelGraph
from spaces.probe import probe
from spaces.space import ARITHMETIC_COSTS, Space

ROOT = Path(__file__).resolve().parents[1]
EMBEDDED_PARENT = ROOT / "spaces" / "parents" / "digits-yolov5n"


@dataclass(frozen=True, eq=False)
class Problem:
    """What is searched, on what, under which limits.

    Attributes:
        limits: upper limits by metric name, percentages resolved.
        parent_costs: the parent's own value of every limited metric and of every arithmetic cost.
    """

    dataset: Dataset
    parent: DetectionModel
    architecture: Architecture
    graph: ChannelGraph
    space: Space
    limits: Mapping[str, float]
    parent_costs: Mapping[str, float]

    @property
    def budget(self) -> Budget:
        """The limits as a budget."""
        return Budget(self.limits)

    def notes(self) -> list[str]:
        """Return what is worth knowing about the data, the parent and the space, a sentence each."""
        whole = ", ".join(f"{name} ({why})" for name, why in self.graph.kept_whole.items())
        ends = "; ".join(f"{name} {low:.4g} to {high:.4g}" for name, (low, high) in self.space.reach().items())
        return [
            f"{len(self.dataset.train)} images to train, {len(self.dataset.val)} in the sealed val split, "
            f"{len(self.dataset.names)} classes.",
            f"{len(self.graph.blocks)} blocks can be cut. Kept whole: {whole}.",
            f"The space reaches {ends}.",
            *self.dataset.warnings,
        ]


def prepare(recipe: Recipe, /) -> Problem:
    """Return the problem that `recipe` states.

    Raises:
        BadInput: the device, the data or the weights cannot be used.
        OutOfReach: a limit below the smallest sub-network.
    """
    _check_device(recipe.torch_device)
    parent, architecture = load_detector(EMBEDDED_PARENT if recipe.weights == EMBEDDED else Path(recipe.weights))
    is_embedded = recipe.data == EMBEDDED
    dataset = load_dataset(render_digits(ROOT / "datasets") if is_embedded else Path(recipe.data))
    if architecture.names != dataset.names:
        raise BadInput(_names_differ(architecture.names, dataset.names, recipe))
    graph = probe(parent, trace_channels(parent, imgsz=recipe.imgsz), rng=np.random.default_rng(0))
    space, costs = _measured_space(parent, graph, recipe)
    limits = _resolve(recipe, costs)
    space.check({name: limit for name, limit in limits.items() if name in ARITHMETIC_COSTS})
    return Problem(dataset, parent, architecture, graph, space, limits, costs)


def _measured_space(parent: DetectionModel, graph: ChannelGraph, recipe: Recipe) -> tuple[Space, dict[str, float]]:
    """Return the space, its sizes those of real ONNX files, and the parent's costs."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "parent.onnx"
        export_onnx(parent, path, imgsz=recipe.imgsz)
        bare = Space(graph, align=recipe.align, keep_min=recipe.keep_min)
        overhead = path.stat().st_size - round(bare.costs(bare.parent)["size_mb"] * 1e6)
        space = Space(graph, align=recipe.align, keep_min=recipe.keep_min, size_overhead=overhead)
        costs = space.costs(space.parent)
        if recipe.latency_ms is not None:
            costs["latency_ms"] = measure_latency(path, threads=1).median_ms
    return space, costs


def _resolve(recipe: Recipe, parent_costs: Mapping[str, float]) -> dict[str, float]:
    """Return the limits by metric name in absolute numbers; of two on the same metric the tighter holds."""
    limits: dict[str, float] = {}
    for key in LIMITS:
        amount = getattr(recipe, key)
        if amount is None:
            continue
        name = "macs_g" if key == "gflops" else key
        scale = 0.5 if key == "gflops" else 1.0
        is_share = amount.endswith("%")
        limit = parent_costs[name] * float(amount[:-1]) / 100 if is_share else float(amount) * scale
        limits[name] = min(limit, limits.get(name, limit))
    return limits


def _check_device(device: str) -> None:
    if device == "cpu":
        return
    index = int(device.partition(":")[2] or 0)
    if index >= torch.cuda.device_count():
        there = ", ".join(["cpu", *(str(number) for number in range(torch.cuda.device_count()))])
        raise BadInput(f"device {index} is not there; this machine has {there}")


def _names_differ(ours: tuple[str, ...], theirs: tuple[str, ...], recipe: Recipe) -> str:
    if len(ours) != len(theirs):
        return f"weights {recipe.weights!r} know {len(ours)} classes, data {recipe.data!r} has {len(theirs)}"
    index = next(i for i, (a, b) in enumerate(zip(ours, theirs, strict=True)) if a != b)
    return (
        f"class {index} is {ours[index]!r} in weights {recipe.weights!r} and {theirs[index]!r} in data {recipe.data!r}"
    )
