import json
from collections.abc import Iterator, Mapping
from dataclasses import fields, replace
from pathlib import Path

import pytest
import torch

from evaluators.budget import Budget
from evaluators.device_file import DeviceFile, Rates
from evaluators.images import load_images
from evaluators.latency_predictor import N_SHARED
from evaluators.result import Result, Status
from leaderboards.entry import PARENT, Quality
from leaderboards.finetune import FinetuneRecipe
from leaderboards.prepare import Problem
from leaderboards.worker import MEASURED, Finishing, Studied, Workshop, finish_row, make_measure
from spaces.base import SAME
from spaces.build import Recovery
from spaces.detector import load_detector
from tests.spaces.networks import study_without_images


@pytest.fixture(autouse=True)
def threads() -> Iterator[None]:
    """Give the other tests their threads back: a worker measures on one."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def workshop(problem: Problem) -> Workshop:
    inputs = problem.inputs
    calibration = load_images(inputs.dataset.train, imgsz=64)
    study = study_without_images(inputs.parent, problem.graph)
    return Workshop(inputs.parent, {SAME: Studied(problem.bases[SAME], calibration, study)}, Recovery.ADAPTIVE_BN)


def measure(workshop: Workshop, problem: Problem, limits: dict[str, float]) -> Result:
    return make_measure(workshop, problem.inputs.dataset.train, Budget(limits), device="cpu")((0, problem.space.parent))


def test_a_latency_limit_is_a_gate_that_is_measured(workshop: Workshop, problem: Problem) -> None:
    result = measure(workshop, problem, {"latency_ms": 1e-6})
    assert (result.status, result.error) == (Status.OVER_BUDGET, "latency_ms")
    assert set(result.readings) == {"macs_g", "params_m", "size_mb", "latency_ms"}
    assert 0.01 < result.readings["latency_ms"] < 10_000


def test_without_a_latency_limit_none_is_measured(workshop: Workshop, problem: Problem) -> None:
    result = measure(workshop, problem, {"macs_g": 1e6})
    assert result.status is Status.DONE
    assert set(result.readings) == {"macs_g", "params_m", "size_mb", "map50_95", "map50", "loss"}


def report_nothing(readings: Mapping[str, float]) -> None:
    raise AssertionError(f"the parent must not be fine-tuned, got {readings}")


def test_the_parents_row_is_itself_not_fine_tuned_and_made_only_once(
    workshop: Workshop, problem: Problem, tmp_path: Path
) -> None:
    finishing = Finishing(
        FinetuneRecipe(epochs=5, imgsz=64), problem.inputs.dataset.train, problem.inputs.dataset.val, tmp_path, "cpu"
    )
    candidates = {PARENT: problem.space.parent}
    finish_row(workshop, finishing, candidates, PARENT, report_nothing)
    measured = json.loads((tmp_path / PARENT / MEASURED).read_text(encoding="utf-8"))
    assert measured["epochs"] == 0
    assert {*measured} - {"epochs", "seconds"} <= {field.name for field in fields(Quality)}
    assert measured["gflops"] == pytest.approx(2 * problem.parent_costs["macs_g"])
    assert measured["onnx_error"] <= 1e-4
    loaded, _ = load_detector(tmp_path / PARENT)
    own = problem.inputs.parent.state_dict()
    assert all(torch.equal(tensor, own[name]) for name, tensor in loaded.state_dict().items())

    before = {path: path.stat().st_mtime_ns for path in (tmp_path / PARENT).iterdir()}
    finish_row(workshop, finishing, candidates, PARENT, report_nothing)
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / PARENT).iterdir()} == before


def test_a_device_file_predicts_and_nothing_is_built_or_measured(workshop: Workshop, problem: Problem) -> None:
    n_rates = N_SHARED + 2 * len(problem.graph.layers)
    rates = Rates(blocks=(1, 1), rates=(7.0, *[0.0] * (n_rates - 1)), parent_ms=7.0)
    device = DeviceFile(
        machine="any", threads=1, cpus=(), parent="a", imgsz=64, n_networks=20, minutes=1.0, drift=0.0,
        blocks=tuple((block.name, block.size) for block in problem.graph.blocks), fp32=rates, int8=rates,
    )  # fmt: skip
    result = measure(replace(workshop, device=device), problem, {"latency_ms": 6.9})
    assert (result.status, result.error) == (Status.OVER_BUDGET, "latency_ms")
    assert (result.readings["latency_ms"], result.readings["int8_latency_ms"]) == (7.0, 7.0)
    within = measure(replace(workshop, device=device), problem, {"latency_ms": 7.1})
    assert within.status is Status.DONE
