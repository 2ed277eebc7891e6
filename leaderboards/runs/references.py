"""The rows that every search must beat: the user's whole network and its rivals, fed images small enough."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import chain

import numpy as np

from evaluators.result import Result, Status
from evaluators.worker import Studied
from leaderboards.runs.bases import calibration_images, sizes_below
from leaderboards.runs.problem import Problem
from spaces.bases.base import Base
from spaces.bases.names import SAME, BaseName
from spaces.candidate import Candidate
from spaces.channels.resize import resize
from spaces.errors import BadInput
from spaces.study import Study

OF_WEIGHTS = ("params_m", "size_mb")  # the same at any image size


def plan_references(problem: Problem, /, *, has_smaller_image: bool) -> dict[str, Base]:
    """Return what stands beside the rows of a search, by the ids of their own rows, as in "parent@96".

    These are each rival at the largest image size, up to the run's, with which it meets the limits, and the user's own
    network at the largest smaller one. The latter is left out where no smaller image helps (no limit, the parent
    within it, a limit on parameters alone) or none is small enough, and in a search for bits, whose limits are not
    about float networks. A latency is taken to follow MACs.

    Raises:
        BadInput: a rival is over the limits at every image size.
    """
    references: dict[str, Base] = {}
    own = problem.bases[SAME]
    if has_smaller_image and not problem.has_bits and _excess(problem, own) and not _weighs_too_much(problem, own):
        smaller = next((base for base in _sizes(own) if not _excess(problem, base)), None)
        references |= {} if smaller is None else {f"parent@{smaller.imgsz}": smaller}
    for name, rival in problem.rivals.items():
        for base in chain([rival], _sizes(rival)):
            over = _excess(problem, base)
            if not over:
                references[base.name] = base
                break
        else:
            raise BadInput(f"rivals: {name} is over the limits at every image size, at the smallest {', '.join(over)}")
    return references


def study_references(
    references: Mapping[str, Base], problem: Problem, /, *, n_images: int, seed: int
) -> dict[str, Studied]:
    """Return `references`, by their bases' names, as `Supernets` holds bases: nothing of them is cut, so no study."""
    return {
        base.name: Studied(
            base,
            calibration_images(problem.inputs.holdout, n_images, seed=seed, imgsz=base.imgsz),
            Study(tuple(np.zeros(block.parts * block.size) for block in base.graph.blocks), (), {}, {}),
        )
        for base in references.values()
    }


def without_references(results: Sequence[Result], /) -> list[Result]:
    """Return `results` without whole networks at a smaller image size, which are no finds; all if there is no other."""
    finds = [result for result in results if not _is_smaller_image(result.candidate)]
    return finds if any(result.status is Status.DONE for result in finds) else list(results)


def _is_smaller_image(candidate: Candidate) -> bool:
    name = BaseName.parse(candidate.base)
    return not candidate.picks and name == BaseName(imgsz=name.imgsz) and name.imgsz is not None


def _sizes(base: Base) -> Iterator[Base]:
    """Yield `base` at each smaller image size, the largest first."""
    for imgsz in sizes_below(base.network, base.imgsz):
        name = str(replace(BaseName.parse(base.name), imgsz=imgsz))
        graph = resize(base.graph, base.network, imgsz=imgsz)
        yield replace(base, name=name, graph=graph, space=base.space.over(graph, base=name), imgsz=imgsz)


def _weighs_too_much(problem: Problem, base: Base) -> bool:
    costs = base.costs(base.space.parent)
    return bool(problem.budget.violations({name: costs[name] for name in OF_WEIGHTS}))


def _excess(problem: Problem, base: Base) -> tuple[str, ...]:
    """Return the names of the limits that the whole network of `base` is over."""
    costs = base.costs(base.space.parent)
    if "latency_ms" in problem.limits:
        whole = problem.parent_costs
        costs["latency_ms"] = whole["latency_ms"] * costs["macs_g"] / whole["macs_g"]
    return problem.budget.violations(costs)
