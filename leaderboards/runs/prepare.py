"""From a recipe to a problem: everything checked, loaded and analysed, and nothing written yet."""

import tempfile
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
from ultralytics.nn.tasks import DetectionModel

from evaluators.data.images import Images
from evaluators.devices.device_file import DeviceFile
from evaluators.latency.timing import measure_latency
from evaluators.runtimes.onnx_export import export_onnx
from leaderboards.files.file_sizes import bits_overhead
from leaderboards.recipes.limits import FLOAT_BOPS, check_reach, resolve, share_of_work
from leaderboards.recipes.parts import Cutting, Parts
from leaderboards.runs.bases import BasePlan, calibration_images, plan_bases, provisional, smaller_sizes
from leaderboards.runs.inputs import load_inputs
from leaderboards.runs.problem import Inputs, Problem, searched
from leaderboards.runs.references import plan_references
from spaces.bases.base import Base
from spaces.bases.names import SAME, BaseName
from spaces.bits.layer_bits import BitTable, cross_bits
from spaces.bits.simulation import MIN_IMAGES
from spaces.channels.graph import ChannelGraph
from spaces.channels.resize import resize
from spaces.channels.trace import trace_channels
from spaces.cutting.probe import probe
from spaces.errors import BadInput, OutOfReach
from spaces.space import Space


def prepare(parts: Parts, /) -> Problem:
    """Return the problem that a recipe states; raises what `load_inputs` and `analyse` raise."""
    return analyse(parts, load_inputs(parts))


def analyse(parts: Parts, inputs: Inputs, /) -> Problem:
    """Return the problem that a recipe states about `inputs`.

    Raises:
        BadInput: nothing of the network can be cut, or a rival is over the limits at every image size.
        OutOfReach: a limit below the smallest sub-network.
    """
    bases, cutting, has_bits = parts.bases, parts.cutting, bool(parts.cutting.weight_bits)

    def images(n: int) -> Images:
        return calibration_images(inputs.holdout, n, seed=parts.making.seed, imgsz=bases.imgsz)

    plans = plan_bases(bases, inputs.parent, images=partial(images, parts.making.calibration_images))
    graphs = _graphs(plans, inputs.parent, imgsz=bases.imgsz)
    bare = {name: _space(cutting, base, overhead=0) for name, base in graphs.items()}
    if all(space.log10_size() == 0 for space in bare.values()) and not (
        has_bits and all(space.genes for space in bare.values())
    ):
        raise BadInput(f"nothing can be cut: {_why_whole(graphs[SAME].graph)}")
    check_reach(parts.limits, bare.values(), keys=("gflops", "macs_g", "params_m"), has_bits=has_bits)
    is_timed = "latency_ms" in parts.limits
    overhead, latency = _measure_parent(inputs, bare[SAME], graphs[SAME], is_timed=is_timed)
    same = _space(cutting, graphs[SAME], overhead=overhead)
    costs = {**same.costs(same.parent), **latency}
    costs |= {"bops_g": FLOAT_BOPS * costs["macs_g"]} if has_bits else {}
    if bases.is_sized:
        share = share_of_work(parts.limits, costs, has_bits=has_bits)
        sizes = smaller_sizes(inputs.parent, bases.imgsz, share=share)
        smaller = [BasePlan(BaseName(imgsz=size), ()) for size in sizes]
        plans += smaller
        graphs |= {str(plan.name): _resized(graphs[SAME], plan) for plan in smaller}
    tables = _tables(cutting, inputs.parent, graphs, images=partial(images, MIN_IMAGES))
    made = {name: _base(cutting, base, overhead=overhead, table=tables[name]) for name, base in graphs.items()}
    every = [searched(base.space, base.table) for base in made.values()]
    check_reach(parts.limits, every, keys=("size_mb", "bops_g"), has_bits=has_bits)
    limits = resolve(parts.limits, costs, has_bits=has_bits)
    if inputs.device is not None and is_timed:
        _check_latency(parts.limits["latency_ms"], limits["latency_ms"], inputs.device, made[SAME])
    rivals = _rivals(cutting, inputs, imgsz=bases.imgsz, overhead=overhead)
    problem = Problem(inputs, plans, made, limits, costs, rivals)
    plan_references(problem, has_smaller_image=False)  # a rival without a place is refused before anything starts
    return problem


def _why_whole(graph: ChannelGraph) -> str:
    """Return why no candidate is narrower than a network of this `graph`."""
    if graph.blocks:
        return "keep_min and align leave every block one width, the parent's"
    reasons = Counter(graph.kept_whole.values()).most_common(2)
    return "no layer of the network can, " + ", ".join(f"{n} because of this: {why}" for why, n in reasons)


def _check_latency(amount: str, limit: float, device: DeviceFile, same: Base) -> None:
    predict = device.latency(same.space, same.graph)
    fastest, parent = (found["latency_ms"] for found in predict([same.space.narrowest, same.space.parent]))
    if limit < fastest:
        raise OutOfReach(
            f"latency_ms={amount} is out of reach: the narrowest sub-network is predicted to take {fastest:.4g}, the "
            f"parent {parent:.4g}"
        )


def _rivals(cutting: Cutting, inputs: Inputs, /, *, imgsz: int, overhead: int) -> dict[str, Base]:
    """Return the rivals as bases; of their files what is no weights is taken to be the parent's."""
    traced = {
        name: _Traced(name, rival.network, trace_channels(rival.network, imgsz=imgsz), imgsz)
        for name, rival in inputs.rivals.items()
    }
    return {name: _base(cutting, rival, overhead=overhead, table=None) for name, rival in traced.items()}


class _Traced(NamedTuple):
    """A base whose space is not known yet."""

    name: str
    network: DetectionModel
    graph: ChannelGraph
    imgsz: int


def _graphs(plans: Sequence[BasePlan], parent: DetectionModel, /, *, imgsz: int) -> dict[str, _Traced]:
    traced: dict[str, _Traced] = {}
    for plan, network in zip(plans, provisional(plans, parent), strict=True):
        name = str(plan.name)
        if plan.name.imgsz is None:
            graph = probe(network, trace_channels(network, imgsz=imgsz), rng=np.random.default_rng(0))
            traced[name] = _Traced(name, network, graph, imgsz)
        else:
            traced[name] = _resized(traced[str(replace(plan.name, imgsz=None))], plan)
    return traced


def _resized(larger: _Traced, plan: BasePlan) -> _Traced:
    """Return the base of `plan`, which is `larger` at another image size."""
    assert plan.name.imgsz is not None
    graph = resize(larger.graph, larger.network, imgsz=plan.name.imgsz)
    return _Traced(str(plan.name), larger.network, graph, plan.name.imgsz)


def _space(cutting: Cutting, base: _Traced, *, overhead: int) -> Space:
    return Space(base.graph, base=base.name, align=cutting.align, keep_min=cutting.keep_min, size_overhead=overhead)


def _base(cutting: Cutting, traced: _Traced, *, overhead: int, table: BitTable | None) -> Base:
    space = _space(cutting, traced, overhead=overhead)
    return Base(traced.name, traced.network, traced.graph, space, traced.imgsz, table)


def _tables(
    cutting: Cutting, parent: DetectionModel, graphs: Mapping[str, _Traced], /, *, images: Callable[[], Images]
) -> dict[str, BitTable | None]:
    """Return by base which bits the layers may have; None where they stay in float32."""
    if not cutting.weight_bits:
        return dict.fromkeys(graphs)
    options = cross_bits(cutting.weight_bits, cutting.activation_bits)
    bare = BitTable(graphs[SAME].graph, options, is_stored=True)
    overhead = bits_overhead(parent, bare, images(), imgsz=graphs[SAME].imgsz)
    return {
        name: BitTable(base.graph, options, size_overhead=overhead, is_stored=True) for name, base in graphs.items()
    }


def _measure_parent(inputs: Inputs, space: Space, same: _Traced, /, *, is_timed: bool) -> tuple[int, dict[str, float]]:
    """Return the bytes of the parent's ONNX file that are no weights, and its latency if that is limited."""
    with tempfile.TemporaryDirectory() as folder:
        path = export_onnx(inputs.parent, Path(folder) / "parent.onnx", imgsz=same.imgsz)
        overhead = path.stat().st_size - round(space.costs(space.parent)["size_mb"] * 1e6)
        if inputs.device is not None:
            predicted = inputs.device.latency(space, same.graph)([space.parent])[0]
            return overhead, {"latency_ms": predicted["latency_ms"]}
        if is_timed:
            return overhead, {"latency_ms": measure_latency(path, threads=1).median_ms}
    return overhead, {}
