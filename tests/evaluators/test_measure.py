import math

import pytest
import torch

from evaluators.budget import Budget
from evaluators.measure import Evaluator, GatedMeasure
from evaluators.result import Job, Status
from spaces.build import Builder, Subnet
from spaces.candidate import Candidate
from spaces.recovery.recovery import Recovery
from spaces.space import Space
from spaces.study import Study
from tests.spaces.chain import chain_graph
from tests.spaces.untrained import detector

SPACE = Space(chain_graph(), align=1)
SMALL = SPACE.encode(SPACE.decode(SPACE.parent) // 2)
BUILDER = Builder(  # without scores it cannot build anything, and need not before an evaluator asks for a network
    detector("yolov8n", n_classes=2),
    chain_graph(),
    SPACE,
    images=torch.zeros(1, 3, 64, 64),
    study=Study(scores=(), losses=(), places={}, sensitivity={}),
)


def build(candidate: Candidate) -> Subnet:
    return Subnet(candidate, BUILDER)


def reads(name: str, value: float) -> Evaluator:
    return lambda _: {name: value}


def forbidden(_: Subnet) -> dict[str, float]:
    raise AssertionError("must not be evaluated")


def measure(limits: dict[str, float], *evaluators: Evaluator, gates: tuple[Evaluator, ...] = ()) -> GatedMeasure:
    return GatedMeasure(SPACE.costs, build, budget=Budget(limits), gates=gates, evaluators=evaluators)


def test_a_candidate_over_an_arithmetic_limit_is_not_measured_at_all() -> None:
    limits = {"macs_g": SPACE.costs(SMALL)["macs_g"]}
    result = measure(limits, forbidden, gates=(forbidden,))(Job(7, SPACE.parent))
    assert (result.number, result.candidate, result.status) == (7, SPACE.parent, Status.OVER_BUDGET)
    assert result.error == "macs_g"
    assert result.readings == SPACE.costs(SPACE.parent)


def test_a_candidate_that_a_gate_stops_is_not_evaluated_and_keeps_the_reading() -> None:
    result = measure({"latency_ms": 5.0}, forbidden, gates=(reads("latency_ms", 6.0),))(Job(0, SMALL))
    assert (result.status, result.error) == (Status.OVER_BUDGET, "latency_ms")
    assert result.readings == {**SPACE.costs(SMALL), "latency_ms": 6.0}


def test_a_candidate_within_the_budget_gets_every_reading() -> None:
    gates = (reads("latency_ms", 5.0),)
    result = measure({"latency_ms": 5.0}, reads("map50_95", 0.3), reads("loss", 2.0), gates=gates)(Job(0, SMALL))
    assert (result.status, result.error) == (Status.DONE, "")
    assert result.readings == {**SPACE.costs(SMALL), "latency_ms": 5.0, "map50_95": 0.3, "loss": 2.0}
    assert result.seconds >= 0


def test_all_broken_limits_are_named() -> None:
    result = measure({"size_mb": 1e-9, "macs_g": 1e-9, "params_m": 1e9}, forbidden)(Job(0, SMALL))
    assert result.error == "size_mb, macs_g"


def test_a_reading_that_is_not_finite_is_an_error_and_no_result() -> None:
    with pytest.raises(ValueError, match="map50_95"):
        measure({}, reads("map50_95", math.nan))(Job(0, SMALL))


def test_an_evaluator_gets_the_candidate_and_may_have_it_built() -> None:
    def evaluate(subnet: Subnet) -> dict[str, float]:
        with pytest.raises(ValueError, match="zip"):  # of this builder's two blocks and no scores
            subnet.network(Recovery.NOTHING)
        return {"is_small": float(subnet.candidate == SMALL)}

    assert measure({}, evaluate)(Job(0, SMALL)).readings["is_small"] == 1.0
