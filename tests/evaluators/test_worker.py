from dataclasses import replace

import pytest

from evaluators.budget import Budget
from evaluators.data.images import load_images
from evaluators.devices.device_file import DeviceFile, Rates
from evaluators.devices.predictor import N_SHARED
from evaluators.result import Job, Result, Status
from evaluators.worker import Studied, Supernets, make_measure
from leaderboards.runs.problem import Problem
from spaces.bases.names import SAME
from spaces.recovery.recovery import Recovery
from tests.spaces.untrained import study_without_images

pytestmark = pytest.mark.usefixtures("threads")


@pytest.fixture(scope="module")
def supernets(problem: Problem) -> Supernets:
    inputs = problem.inputs
    calibration = load_images(inputs.dataset.train, imgsz=64)
    study = study_without_images(inputs.parent, problem.graph)
    return Supernets(inputs.parent, {SAME: Studied(problem.bases[SAME], calibration, study)}, Recovery.ADAPTIVE_BN)


def measure(supernets: Supernets, problem: Problem, limits: dict[str, float]) -> Result:
    return make_measure(supernets, problem.inputs.dataset.train, Budget(limits), device="cpu")(
        Job(0, problem.space.parent)
    )


def test_a_latency_limit_is_a_gate_that_is_measured(supernets: Supernets, problem: Problem) -> None:
    result = measure(supernets, problem, {"latency_ms": 1e-6})
    assert (result.status, result.error) == (Status.OVER_BUDGET, "latency_ms")
    assert set(result.readings) == {"macs_g", "params_m", "size_mb", "latency_ms"}
    assert 0.01 < result.readings["latency_ms"] < 10_000


def test_without_a_latency_limit_none_is_measured(supernets: Supernets, problem: Problem) -> None:
    result = measure(supernets, problem, {"macs_g": 1e6})
    assert result.status is Status.DONE
    assert set(result.readings) == {"macs_g", "params_m", "size_mb", "map50_95", "map50", "loss"}


def test_a_device_file_predicts_and_nothing_is_built_or_measured(supernets: Supernets, problem: Problem) -> None:
    n_rates = N_SHARED + 2 * len(problem.graph.layers)
    rates = Rates(blocks=(1, 1), rates=(7.0, *[0.0] * (n_rates - 1)), parent_ms=7.0)
    device = DeviceFile(
        machine="any", threads=1, cpus=(), parent="a", imgsz=64, n_networks=20, minutes=1.0, drift=0.0,
        blocks=tuple((block.name, block.size) for block in problem.graph.blocks), fp32=rates, int8=rates,
    )  # fmt: skip
    result = measure(replace(supernets, device=device), problem, {"latency_ms": 6.9})
    assert (result.status, result.error) == (Status.OVER_BUDGET, "latency_ms")
    assert (result.readings["latency_ms"], result.readings["int8_latency_ms"]) == (7.0, 7.0)
    within = measure(replace(supernets, device=device), problem, {"latency_ms": 7.1})
    assert within.status is Status.DONE
