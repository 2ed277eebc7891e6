from dataclasses import replace

import numpy as np
import pytest

from evaluators.data.images import load_images
from evaluators.worker import Studied
from leaderboards.runs.problem import Problem
from leaderboards.runs.references import smaller_image
from spaces.bases.names import SAME
from spaces.bits.layer_bits import BitTable, cross_bits
from spaces.recovery.recovery import Recovery
from tests.spaces.untrained import study_without_images


@pytest.fixture(scope="module")
def same(problem: Problem) -> Studied:
    study = study_without_images(problem.inputs.parent, problem.graph)
    return Studied(problem.bases[SAME], load_images(problem.inputs.dataset.train, imgsz=64), study)


def limited(problem: Problem, **shares: float) -> Problem:
    """Return `problem` with these shares of the parent's costs as its only limits; the parent takes 10 ms."""
    costs = {**problem.parent_costs, "latency_ms": 10.0}
    return replace(problem, parent_costs=costs, limits={name: share * costs[name] for name, share in shares.items()})


@pytest.mark.parametrize("limit", ["macs_g", "latency_ms"])
def test_the_whole_network_sees_the_largest_image_that_meets_the_limit(
    problem: Problem, same: Studied, limit: str
) -> None:
    found = smaller_image(limited(problem, **{limit: 0.6}), same, seed=0)
    assert found is not None
    assert (found.row, str(found.candidate.base), found.candidate.picks) == ("parent@32", "same@32", ())
    whole, base = problem.bases[SAME], found.studied.base
    assert base.costs(found.candidate)["macs_g"] == pytest.approx(whole.costs(whole.space.parent)["macs_g"] / 4)
    assert found.studied.calibration.tensor().shape[2:] == (32, 32)
    network = found.studied.builder("cpu").float_network(found.candidate, Recovery.RECONSTRUCT)
    ours, theirs = network.state_dict(), problem.inputs.parent.state_dict()
    assert all(np.array_equal(ours[name], theirs[name]) for name in theirs)


@pytest.mark.parametrize(
    "shares", [{}, {"macs_g": 1.0}, {"params_m": 0.8}, {"macs_g": 0.6, "params_m": 0.8}, {"macs_g": 0.1}]
)
def test_there_is_none_where_a_smaller_image_is_of_no_use(
    problem: Problem, same: Studied, shares: dict[str, float]
) -> None:
    assert smaller_image(limited(problem, **shares), same, seed=0) is None


def test_a_search_for_bits_has_none(problem: Problem, same: Studied) -> None:
    table = BitTable(problem.graph, cross_bits((4, 8), (8,)))
    with_bits = replace(problem, bases={SAME: replace(problem.bases[SAME], table=table)})
    assert smaller_image(limited(with_bits, macs_g=0.6), same, seed=0) is None
