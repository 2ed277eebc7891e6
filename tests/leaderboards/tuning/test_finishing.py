import json
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path

import pytest
import torch

from evaluators.data.images import load_images
from evaluators.worker import Studied, Supernets
from leaderboards.entry import PARENT, Quality
from leaderboards.runs.problem import Problem
from leaderboards.tuning.finetune import FinetuneRecipe
from leaderboards.tuning.finishing import MEASURED, STAGES, Finishing, finish_row
from spaces.bases.names import SAME
from spaces.bits.layer_bits import LayerBits, to_picks
from spaces.bits.quantized import allocation_of
from spaces.candidate import Candidate
from spaces.cutting.masks import share_of_zeros, weighted_layers
from spaces.detectors.detector import load_detector
from spaces.recovery.recovery import Recovery
from tests.spaces.untrained import study_without_images

pytestmark = pytest.mark.usefixtures("threads")


@pytest.fixture(scope="module")
def supernets(problem: Problem) -> Supernets:
    inputs = problem.inputs
    calibration = load_images(inputs.dataset.train * 2, imgsz=64)  # 8 are the least that ranges are found on
    study = study_without_images(inputs.parent, problem.graph)
    return Supernets(inputs.parent, {SAME: Studied(problem.bases[SAME], calibration, study)}, Recovery.ADAPTIVE_BN)


def report_nothing(readings: Mapping[str, float]) -> None:
    raise AssertionError(f"the parent must not be fine-tuned, got {readings}")


def test_the_parents_row_is_itself_not_fine_tuned_and_made_only_once(
    supernets: Supernets, problem: Problem, tmp_path: Path
) -> None:
    finishing = Finishing(
        FinetuneRecipe(epochs=5, imgsz=64),
        FinetuneRecipe(epochs=5, imgsz=64),
        problem.inputs.dataset.train,
        problem.inputs.dataset.val,
        tmp_path,
        "cpu",
    )
    candidates = {PARENT: problem.space.parent}
    finish_row(supernets, finishing, candidates, PARENT, report_nothing)
    measured = json.loads((tmp_path / PARENT / MEASURED).read_text(encoding="utf-8"))
    assert measured["epochs"] == 0
    assert {*measured} - {"epochs", "seconds"} <= {field.name for field in fields(Quality)}
    assert measured["gflops"] == pytest.approx(2 * problem.parent_costs["macs_g"])
    assert measured["files"][0]["error"] <= 1e-4
    loaded, _ = load_detector(tmp_path / PARENT)
    own = problem.inputs.parent.state_dict()
    assert all(torch.equal(tensor, own[name]) for name, tensor in loaded.state_dict().items())

    before = {path: path.stat().st_mtime_ns for path in (tmp_path / PARENT).iterdir()}
    finish_row(supernets, finishing, candidates, PARENT, report_nothing)
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / PARENT).iterdir()} == before


def test_a_masked_row_says_what_its_zeros_are_worth_and_trains_them_no_more(
    supernets: Supernets, problem: Problem, tmp_path: Path
) -> None:
    candidate, inputs = Candidate(SAME, (("mask.weight", 50),)), problem.inputs
    recipe = FinetuneRecipe(epochs=1, imgsz=64, batch=2, flip=0.0)
    finishing = Finishing(recipe, recipe, inputs.dataset.train, inputs.dataset.val, tmp_path, "cpu")
    finish_row(supernets, finishing, {"row": candidate}, "row", lambda _: None)
    measured = json.loads((tmp_path / "row" / MEASURED).read_text(encoding="utf-8"))
    assert measured["zeros"] == pytest.approx(0.5, abs=1e-3)
    # the costs are those of the dense network; stored sparsely a weight takes 4 x .5 + 1 / 8 bytes instead of 4
    assert measured["gflops"] == pytest.approx(2 * problem.parent_costs["macs_g"])
    assert measured["params_m"] == pytest.approx(problem.parent_costs["params_m"])
    weights = sum(layer.weight.numel() for layer in weighted_layers(inputs.parent).values()) / 1e6
    assert measured["files"][0]["size_mb"] - measured["sparse_size_mb"] == pytest.approx(
        (4 - 2.125) * weights, rel=0.01
    )
    loaded, architecture = load_detector(tmp_path / "row")
    assert architecture.candidate == candidate
    assert share_of_zeros(loaded) == measured["zeros"]


def test_a_row_with_bits_is_tuned_then_trained_on_them_and_its_files_have_them(
    supernets: Supernets, problem: Problem, tmp_path: Path
) -> None:
    bits = {"2.cv1": LayerBits(4, 8), "4.cv2": LayerBits(6, 6)}
    gene = problem.space.genes[0]
    candidate = Candidate(SAME, tuple(sorted({gene.name: gene.options[0], **to_picks(bits)}.items())))
    inputs, said = problem.inputs, list[Mapping[str, float]]()
    recipe = FinetuneRecipe(epochs=1, imgsz=64, batch=2, flip=0.0)
    finishing = Finishing(recipe, recipe, inputs.dataset.train, inputs.dataset.val, tmp_path, "cpu")
    finish_row(supernets, finishing, {candidate.id: candidate}, candidate.id, said.append)
    folder = tmp_path / candidate.id
    measured = json.loads((folder / MEASURED).read_text(encoding="utf-8"))
    assert [readings["epoch"] for readings in said] == [1, 1]
    assert 6 < measured["bits_mean"] < 32
    (deployed,) = measured["files"]  # the float file holds rounded weights and not the bits
    assert (deployed["precision"], deployed["runtime"]) == ("int8", "onnxruntime")
    assert deployed["error"] <= 1e-4
    assert deployed["execution"]
    assert set(measured["worst_layers"]) == set(bits)
    loaded, architecture = load_detector(folder)
    assert allocation_of(loaded) == bits
    assert architecture.candidate == candidate
    kept = dict(loaded.named_parameters())
    assert all(
        len(tensor) == gene.options[0] for name, tensor in kept.items() if name == f"model.{gene.name}.conv.weight"
    )
    assert not any((folder / stage).exists() for stage in STAGES)
