import json
from collections.abc import Iterator, Mapping
from dataclasses import fields
from pathlib import Path

import pytest
import torch

from evaluators.budget import Budget
from evaluators.images import load_images
from evaluators.result import Result, Status
from leaderboards.entry import PARENT, Quality
from leaderboards.finetune import FinetuneRecipe
from leaderboards.prepare import Problem
from leaderboards.worker import MEASURED, Finishing, Workshop, finish_row, make_measure
from spaces.build import Recovery
from spaces.detector import load_detector
from spaces.importance import Importance


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
    return Workshop(inputs.parent, problem.graph, problem.space, calibration, Importance.L1, Recovery.ADAPTIVE_BN)


def measure(workshop: Workshop, problem: Problem, limits: dict[str, float]) -> Result:
    images = load_images(problem.inputs.dataset.train, imgsz=64)
    return make_measure(workshop, images, Budget(limits), "cpu")((0, problem.space.parent))


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
