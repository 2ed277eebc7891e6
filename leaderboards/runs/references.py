"""The row that every search must beat: the user's whole network, fed an image small enough for the limits."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple

from evaluators.result import Result, Status
from evaluators.worker import Studied
from leaderboards.runs.bases import calibration_images, image_stride
from leaderboards.runs.problem import Problem
from spaces.bases.base import Base
from spaces.bases.names import SAME, BaseName
from spaces.candidate import Candidate
from spaces.channels.resize import resize

OF_WEIGHTS = ("params_m", "size_mb")  # the same at any image size


class Reference(NamedTuple):
    """The whole network at a smaller image size, as a row: `row` is its id, as in "parent@96"."""

    row: str
    candidate: Candidate
    studied: Studied


def smaller_image(problem: Problem, same: Studied, /, *, seed: int) -> Reference | None:
    """Return the whole network fed the largest image below its own with which it meets the limits.

    None where no smaller image helps (no limit, the parent within it, a limit on parameters alone) or none is small
    enough; and in a search for bits, whose limits are not about float networks. A latency is taken to follow MACs.

    Args:
        same: the user's own network. Nothing of it is cut, so what its own images told of it is told of smaller ones.
    """
    own = problem.bases[SAME]
    weights = {name: cost for name, cost in own.costs(own.space.parent).items() if name in OF_WEIGHTS}
    if problem.has_bits or _meets(problem, own) or problem.budget.violations(weights):
        return None
    base = next((base for base in _sizes(own) if _meets(problem, base)), None)
    if base is None:
        return None
    n_images = len(same.calibration)
    images = calibration_images(problem.inputs.holdout, n_images, seed=seed, imgsz=base.imgsz)
    return Reference(f"parent@{base.imgsz}", base.space.parent, Studied(base, images, same.study))


def without_references(results: Sequence[Result], /) -> list[Result]:
    """Return `results` without whole networks at a smaller image size, which are no finds; all if there is no other."""
    finds = [result for result in results if not _is_smaller_image(result.candidate)]
    return finds if any(result.status is Status.DONE for result in finds) else list(results)


def _is_smaller_image(candidate: Candidate) -> bool:
    name = BaseName.parse(candidate.base)
    return not candidate.picks and name == BaseName(imgsz=name.imgsz) and name.imgsz is not None


def _sizes(same: Base) -> Iterator[Base]:
    """Yield the network of `same` at each smaller image size, the largest first."""
    stride = image_stride(same.network)
    for imgsz in range(same.imgsz - stride, 0, -stride):
        name = str(BaseName(imgsz=imgsz))
        graph = resize(same.graph, same.network, imgsz=imgsz)
        yield replace(same, name=name, graph=graph, space=same.space.over(graph, base=name), imgsz=imgsz)


def _meets(problem: Problem, base: Base) -> bool:
    """Return whether the whole network of `base` is within the limits."""
    costs = base.costs(base.space.parent)
    if "latency_ms" in problem.limits:
        whole = problem.parent_costs
        costs["latency_ms"] = whole["latency_ms"] * costs["macs_g"] / whole["macs_g"]
    return not problem.budget.violations(costs)
