"""From a recipe to a problem: everything checked, loaded and analysed, and nothing written yet."""

import hashlib
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from ultralytics.nn.tasks import DetectionModel

from evaluators.budget import Budget
from evaluators.dataset import Dataset, Holdout, load_dataset, split_holdout
from evaluators.device_file import DeviceFile, read_device_file
from evaluators.digits import render_digits
from evaluators.latency import measure_latency
from leaderboards.bases import Plan, calibration_images, plan_bases, provisional
from leaderboards.files.export import export_onnx
from leaderboards.files.file_sizes import bits_overhead
from leaderboards.recipes.demands import check_demands
from leaderboards.recipes.limits import FLOAT_BOPS, check_reach, reach_of, resolve
from leaderboards.recipes.recipe import EMBEDDED, Recipe
from spaces.backbones.pretrained import check_pretrained
from spaces.base import SAME, Base
from spaces.bit_space import BitSpace
from spaces.bits import BitTable, cross_bits
from spaces.candidate import Candidate
from spaces.channels import trace_channels
from spaces.detector import Architecture, load_detector
from spaces.errors import BadInput, OutOfReach
from spaces.graph import ChannelGraph
from spaces.probe import probe
from spaces.quantize import MIN_IMAGES
from spaces.resize import resize
from spaces.space import Space

ROOT = Path(__file__).resolve().parents[1]
EMBEDDED_PARENT = ROOT / "spaces" / "parents" / "digits-yolov5n"


@dataclass(frozen=True, eq=False)
class Inputs:
    """What a recipe names, loaded and checked.

    Attributes:
        holdout: train in two parts, of which the search ranks on the first.
        fingerprint: of the weights' content, 16 hexadecimal digits.
        device: what predicts latencies; None where they are measured.
    """

    dataset: Dataset
    holdout: Holdout
    parent: DetectionModel
    architecture: Architecture
    fingerprint: str
    device: DeviceFile | None = None


@dataclass(frozen=True, eq=False)
class Problem:
    """What is searched, on what, under which limits.

    Attributes:
        plans: the bases before they are made.
        bases: by name, "same" first; another backbone is not trained yet.
        limits: upper limits by metric name, percentages resolved.
        parent_costs: the parent's own value of every limited metric and of every arithmetic cost.
    """

    inputs: Inputs
    plans: Sequence[Plan]
    bases: Mapping[str, Base]
    limits: Mapping[str, float]
    parent_costs: Mapping[str, float]

    @property
    def budget(self) -> Budget:
        """The limits as a budget."""
        return Budget(self.limits)

    @property
    def graph(self) -> ChannelGraph:
        """What can be cut out of the user's own network."""
        return self.bases[SAME].graph

    @property
    def space(self) -> Space:
        """The sub-networks of the user's own network."""
        return self.bases[SAME].space

    def reach(self) -> dict[str, tuple[float, float]]:
        """Return the smallest value of each cost in any base, and the parent's."""
        return reach_of([searched(base.space, base.table) for base in self.bases.values()])

    def costs(self, candidate: Candidate, /) -> dict[str, float]:
        """Return the arithmetic costs of `candidate`."""
        return self.bases[candidate.base].costs(candidate)

    def notes(self) -> list[str]:
        """Return what is worth knowing about the data, the parent and the space, a sentence each."""
        dataset, holdout = self.inputs.dataset, self.inputs.holdout
        whole = ", ".join(f"{name} ({why})" for name, why in self.graph.kept_whole.items())
        ends = "; ".join(f"{name} {low:.4g} to {high:.4g}" for name, (low, high) in self.reach().items())
        return [
            f"{len(dataset.train)} images to train, {len(holdout.search)} of which rank the candidates; "
            f"{len(dataset.val)} in the sealed val split; {len(dataset.names)} classes.",
            f"{len(self.graph.blocks)} blocks can be cut. Kept whole: {whole}.",
            *([f"Searched across {len(self.bases)} bases: {', '.join(self.bases)}."] if len(self.bases) > 1 else []),
            f"The space reaches {ends}.",
            *dataset.warnings,
            *self._notes_on_device(),
        ]

    def _notes_on_device(self) -> list[str]:
        device = self.inputs.device
        if device is None:
            return []
        said = (
            f"Latencies of the search are predicted from {device.n_networks} sub-networks timed on {device.machine}; "
            f"its sentinel drifted by {device.drift:.0%} meanwhile."
        )
        return [said, *([warning] if (warning := device.foreign()) else [])]


def prepare(recipe: Recipe, /) -> Problem:
    """Return the problem that `recipe` states; raises what `load_inputs` and `analyse` raise."""
    return analyse(recipe, load_inputs(recipe))


def load_inputs(recipe: Recipe, /) -> Inputs:
    """Return the data and the detector that `recipe` names.

    Raises:
        BadInput: keys, the device, the data, the weights, those of backbones or the device file cannot be used, or do
            not belong together.
    """
    check_demands(recipe)
    _check_device(recipe.torch_device)
    if recipe.backbone_weights is not None:
        check_pretrained(recipe.backbone_weights, recipe.backbones)
    yaml = render_digits(ROOT / "datasets") if recipe.data == EMBEDDED else Path(recipe.data)
    dataset = load_dataset(yaml, needs_train_labels=recipe.needs_train_labels)
    holdout = split_holdout(dataset.train, n_holdout=recipe.search_images, seed=recipe.seed)
    n_calibration = min(recipe.calibration_images, len(holdout.rest))
    if recipe.bits and n_calibration < MIN_IMAGES:
        raise BadInput(f"bits: ranges need at least {MIN_IMAGES} calibration images, there are {n_calibration}")
    if recipe.needs_train_labels and not any(len(sample.labels) for sample in holdout.search):
        raise BadInput(f"data: none of the {len(holdout.search)} train images that rank candidates has a box")
    path = EMBEDDED_PARENT if recipe.weights == EMBEDDED else Path(recipe.weights)
    parent, architecture = load_detector(path)
    if architecture.bits:
        raise BadInput(f"weights: {recipe.weights!r} hold a network of few bits, and what is searched must be in float")
    if architecture.names != dataset.names:
        raise BadInput(_names_differ(architecture.names, dataset.names, recipe))
    digest = fingerprint(path)
    return Inputs(dataset, holdout, parent, architecture, digest, _device(recipe, digest))


def analyse(recipe: Recipe, inputs: Inputs, /) -> Problem:
    """Return the problem that `recipe` states about `inputs`.

    Raises:
        BadInput: nothing of the network can be cut.
        OutOfReach: a limit below the smallest sub-network.
    """
    plans = plan_bases(recipe, inputs.holdout, inputs.parent)
    graphs = _graphs(recipe, plans, inputs.parent)
    bare = {name: _space(recipe, base, overhead=0) for name, base in graphs.items()}
    has_bits = bool(recipe.bits) and all(space.genes for space in bare.values())
    if all(space.log10_size() == 0 for space in bare.values()) and not has_bits:
        raise BadInput("nothing can be cut: keep_min and align leave every block one width, the parent's")
    check_reach(recipe, bare.values(), ("gflops", "macs_g", "params_m"))
    overhead, costs = _measure_parent(recipe, inputs, bare[SAME], graphs[SAME].graph)
    spaces = {name: _space(recipe, base, overhead=overhead) for name, base in graphs.items()}
    tables = _tables(recipe, inputs, graphs)
    costs |= spaces[SAME].costs(spaces[SAME].parent)
    costs |= {"bops_g": FLOAT_BOPS * costs["macs_g"]} if recipe.bits else {}
    check_reach(recipe, [searched(spaces[name], tables[name]) for name in graphs], ("size_mb", "bops_g"))
    limits = resolve(recipe, costs)
    if inputs.device is not None and "latency_ms" in limits:
        fastest = inputs.device.latency(spaces[SAME], graphs[SAME].graph)([spaces[SAME].narrowest])[0]["latency_ms"]
        if limits["latency_ms"] < fastest:
            raise OutOfReach(
                f"latency_ms={recipe.latency_ms} is out of reach: the narrowest sub-network is predicted to take "
                f"{fastest:.4g}, the parent {costs['latency_ms']:.4g}"
            )
    bases = {
        name: Base(name, traced.network, traced.graph, spaces[name], traced.imgsz, tables[name])
        for name, traced in graphs.items()
    }
    return Problem(inputs, plans, bases, limits, costs)


class _Traced(NamedTuple):
    """A base whose space is not known yet."""

    name: str
    network: DetectionModel
    graph: ChannelGraph
    imgsz: int


def _graphs(recipe: Recipe, plans: Sequence[Plan], parent: DetectionModel) -> dict[str, _Traced]:
    traced: dict[str, _Traced] = {}
    for plan, network in zip(plans, provisional(plans, parent), strict=True):
        name, imgsz = str(plan.name), plan.name.imgsz or recipe.imgsz
        if plan.name.imgsz is None:
            graph = probe(network, trace_channels(network, imgsz=imgsz), rng=np.random.default_rng(0))
        else:
            graph = resize(traced[str(replace(plan.name, imgsz=None))].graph, network, imgsz=imgsz)
        traced[name] = _Traced(name, network, graph, imgsz)
    return traced


def _space(recipe: Recipe, base: _Traced, *, overhead: int) -> Space:
    return Space(base.graph, base=base.name, align=recipe.align, keep_min=recipe.keep_min, size_overhead=overhead)


def _tables(recipe: Recipe, inputs: Inputs, graphs: Mapping[str, _Traced]) -> dict[str, BitTable | None]:
    """Return by base which bits the layers may have; None where they stay in float32."""
    if not recipe.bits:
        return dict.fromkeys(graphs)
    options = cross_bits(recipe.bits, recipe.activation_bits)
    few = recipe.model_copy(update={"calibration_images": MIN_IMAGES})
    images = calibration_images(few, inputs.holdout, imgsz=recipe.imgsz)
    bare = BitTable(graphs[SAME].graph, options, is_stored=True)
    overhead = bits_overhead(inputs.parent, bare, images, imgsz=recipe.imgsz)
    return {
        name: BitTable(base.graph, options, size_overhead=overhead, is_stored=True) for name, base in graphs.items()
    }


def searched(space: Space, table: BitTable | None) -> Space | BitSpace:
    """Return the space of the widths, or that of widths and bits."""
    return space if table is None else BitSpace(space, space, table)


def _measure_parent(
    recipe: Recipe, inputs: Inputs, space: Space, graph: ChannelGraph, /
) -> tuple[int, dict[str, float]]:
    """Return the bytes of the parent's ONNX file that are no weights, and its latency if that is limited."""
    with tempfile.TemporaryDirectory() as folder:
        path = export_onnx(inputs.parent, Path(folder) / "parent.onnx", imgsz=recipe.imgsz)
        overhead = path.stat().st_size - round(space.costs(space.parent)["size_mb"] * 1e6)
        if inputs.device is not None:
            return overhead, {"latency_ms": inputs.device.latency(space, graph)([space.parent])[0]["latency_ms"]}
        if recipe.latency_ms is not None:
            return overhead, {"latency_ms": measure_latency(path, threads=1).median_ms}
    return overhead, {}


def fingerprint(path: Path) -> str:
    """Return 16 hexadecimal digits that stand for the content of a weights file, or of a folder of ours."""
    content = path / "model.safetensors" if path.is_dir() else path
    return hashlib.sha256(content.read_bytes()).hexdigest()[:16]


def _device(recipe: Recipe, parent: str) -> DeviceFile | None:
    """Return the device file that `recipe` names, made for these weights and fit for what is asked of it."""
    if recipe.device_file is None:
        return None
    if len(recipe.backbones) > 1 or recipe.depth or recipe.image_sizes:
        raise BadInput(
            "device_file is of the user's own network at one size: leave out backbones, depth and image_sizes"
        )
    device = read_device_file(Path(recipe.device_file))
    device.check_use(parent=parent, imgsz=recipe.imgsz, threads=1)
    warning = device.foreign()
    if warning and recipe.latency_ms is not None and not recipe.allow_foreign_device:
        raise BadInput(f"{warning}; make one here with bench latency, or set allow_foreign_device=true")
    return device


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
