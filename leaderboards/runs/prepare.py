"""From a recipe to a problem: everything checked, loaded and analysed, and nothing written yet."""

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
from ultralytics.nn.tasks import DetectionModel

from evaluators.latency.timing import measure_latency
from evaluators.runtimes.onnx_runtime import export_onnx
from leaderboards.files.file_sizes import bits_overhead
from leaderboards.recipes.limits import FLOAT_BOPS, check_reach, resolve
from leaderboards.recipes.recipe import Recipe
from leaderboards.runs.bases import Plan, calibration_images, plan_bases, provisional
from leaderboards.runs.inputs import load_inputs
from leaderboards.runs.problem import Inputs, Problem, searched
from spaces.bases.base import SAME, Base
from spaces.bits.layer_bits import BitTable, cross_bits
from spaces.bits.simulation import MIN_IMAGES
from spaces.channels.graph import ChannelGraph
from spaces.channels.resize import resize
from spaces.channels.trace import trace_channels
from spaces.cutting.probe import probe
from spaces.errors import BadInput, OutOfReach
from spaces.space import Space


def prepare(recipe: Recipe, /) -> Problem:
    """Return the problem that `recipe` states; raises what `load_inputs` and `analyse` raise."""
    return analyse(recipe, load_inputs(recipe))


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
