import math
from dataclasses import replace

import numpy as np
import pytest

from evaluators.accuracy.detection import score
from evaluators.budget import Budget
from evaluators.measure import GatedMeasure
from evaluators.metric import COSTS
from evaluators.proxies.by_name import METRICS, PROXIES
from evaluators.proxies.recovered import evaluator_of
from evaluators.result import Job
from spaces.build import Builder, Subnet
from spaces.candidate import Candidate
from spaces.recovery.recovery import Recovery
from tests.evaluators.parts import builder, images, uniform

IMAGES = images(n_boxes=3)


def test_every_proxy_has_its_metric_and_no_cost_ranks() -> None:
    assert set(PROXIES) == set(METRICS) - {metric.name for metric in COSTS}


@pytest.mark.parametrize("name", PROXIES)
def test_every_proxy_reads_a_finite_number_under_its_name(name: str) -> None:
    evaluate = evaluator_of(name, IMAGES, Recovery.RECONSTRUCT)
    assert math.isfinite(evaluate(Subnet(uniform(0.7), builder()))[name])


@pytest.mark.parametrize(
    ("name", "recovery"),
    [
        ("vanilla", Recovery.NOTHING),
        ("adaptive_bn", Recovery.ADAPTIVE_BN),
        ("one_shot", Recovery.ONE_SHOT),
        ("sequential", Recovery.RECONSTRUCT),
    ],
)
def test_each_recovery_is_the_one_that_the_name_says(name: str, recovery: Recovery) -> None:
    subnet = Subnet(uniform(0.7), builder())
    expected = score(subnet.network(recovery), IMAGES)
    other = Recovery.RECONSTRUCT if recovery is Recovery.NOTHING else Recovery.NOTHING  # the run's own does not count
    assert evaluator_of(f"map_{name}", IMAGES, other)(subnet) == {f"map_{name}": pytest.approx(expected["map50_95"])}
    assert evaluator_of(f"loss_{name}", IMAGES, other)(subnet) == {f"loss_{name}": pytest.approx(expected["loss"])}


def test_a_search_by_arithmetic_never_builds_a_network(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Builder, "__call__", lambda *_: pytest.fail("a network was built"))
    for name in ("reconstruction_loss", "block_loss", "kept_l1", "kept_contribution", "kept_taylor", "kept_fisher"):
        assert set(evaluator_of(name, IMAGES, Recovery.RECONSTRUCT)(Subnet(uniform(0.7), builder()))) == {name}


@pytest.mark.parametrize(
    ("name", "readings"),
    [("map50_95", {"map50_95", "map50", "loss"}), ("loss", {"map50_95", "map50", "loss"}), ("zen", {"zen"})],
)
def test_a_search_pays_for_its_proxy_and_no_more(name: str, readings: set[str]) -> None:
    assert set(evaluator_of(name, IMAGES, Recovery.NOTHING)(Subnet(uniform(0.7), builder()))) == readings


def test_a_proxy_that_is_not_a_number_is_an_error_and_never_ranked() -> None:
    own = builder()
    study = replace(own.study, losses=tuple(np.full(len(losses), np.nan) for losses in own.study.losses))
    broken = Builder(own.parent, own.graph, own.space, images=own.images, study=study)

    def build(candidate: Candidate) -> Subnet:
        return Subnet(candidate, broken)

    measure = GatedMeasure(
        own.space.costs,
        build,
        budget=Budget({}),
        gates=(),
        evaluators=(evaluator_of("block_loss", IMAGES, Recovery.NOTHING),),
    )
    with pytest.raises(ValueError, match="block_loss"):
        measure(Job(0, uniform(0.5)))
