from dataclasses import replace

import numpy as np
import pytest

from evaluators.result import Result, Status
from leaderboards.runs.problem import Problem
from leaderboards.runs.references import plan_references, study_references, without_references
from spaces.bases.names import SAME
from spaces.bits.layer_bits import BitTable, cross_bits
from spaces.candidate import Candidate
from spaces.errors import BadInput
from spaces.recovery.recovery import Recovery


def limited(problem: Problem, **shares: float) -> Problem:
    """Return `problem` with these shares of the parent's costs as its only limits; the parent takes 10 ms."""
    costs = {**problem.parent_costs, "latency_ms": 10.0}
    return replace(problem, parent_costs=costs, limits={name: share * costs[name] for name, share in shares.items()})


@pytest.mark.parametrize("limit", ["macs_g", "latency_ms"])
def test_the_whole_network_sees_the_largest_image_that_meets_the_limit(problem: Problem, limit: str) -> None:
    tight = limited(problem, **{limit: 0.6})
    planned = plan_references(tight, has_smaller_image=True)
    assert {row: base.name for row, base in planned.items()} == {"parent@32": "same@32"}
    whole, base = problem.bases[SAME], planned["parent@32"]
    assert base.costs(base.space.parent)["macs_g"] == pytest.approx(whole.costs(whole.space.parent)["macs_g"] / 4)
    studied = study_references(planned, tight, n_images=2, seed=0)["same@32"]
    assert studied.calibration.tensor().shape == (2, 3, 32, 32)
    network = studied.builder("cpu").float_network(base.space.parent, Recovery.RECONSTRUCT)
    ours, theirs = network.state_dict(), problem.inputs.parent.state_dict()
    assert all(np.array_equal(ours[name], theirs[name]) for name in theirs)


@pytest.mark.parametrize(
    "shares", [{}, {"macs_g": 1.0}, {"params_m": 0.8}, {"macs_g": 0.6, "params_m": 0.8}, {"macs_g": 0.1}]
)
def test_there_is_none_where_a_smaller_image_is_of_no_use(problem: Problem, shares: dict[str, float]) -> None:
    assert plan_references(limited(problem, **shares), has_smaller_image=True) == {}


def test_a_search_for_bits_has_none(problem: Problem) -> None:
    table = BitTable(problem.graph, cross_bits((4, 8), (8,)))
    with_bits = replace(problem, bases={SAME: replace(problem.bases[SAME], table=table)})
    assert plan_references(limited(with_bits, macs_g=0.6), has_smaller_image=True) == {}


def rivalled(problem: Problem) -> Problem:
    """Return `problem` with its own network as a rival, too."""
    own = problem.bases[SAME]
    return replace(problem, rivals={"twin": replace(own, name="twin", space=own.space.over(own.graph, base="twin"))})


@pytest.mark.parametrize(("share", "row", "imgsz"), [(1.0, "twin", 64), (0.6, "twin@32", 32)])
def test_a_rival_stands_at_the_largest_image_that_meets_the_limits(
    problem: Problem, share: float, row: str, imgsz: int
) -> None:
    planned = plan_references(limited(rivalled(problem), macs_g=share), has_smaller_image=False)
    assert {name: base.imgsz for name, base in planned.items()} == {row: imgsz}


def test_a_rival_that_is_too_large_at_any_image_is_refused(problem: Problem) -> None:
    with pytest.raises(BadInput, match=r"twin is over the limits at every image size, at the smallest params_m$"):
        plan_references(limited(rivalled(problem), params_m=0.9, macs_g=0.5), has_smaller_image=True)


def test_whole_networks_at_smaller_images_are_no_finds() -> None:
    def done(candidate: Candidate) -> Result:
        return Result(0, candidate, Status.DONE, {}, 0.0)

    smaller, cut, own = Candidate("same@32", ()), Candidate("same@32", (("a", 8),)), Candidate(SAME, ())
    shallow = Candidate("same-1@32", ())
    every = [done(candidate) for candidate in (smaller, cut, own, shallow)]
    assert [result.candidate for result in without_references(every)] == [cut, own, shallow]
    assert without_references(every[:1]) == every[:1]
