import csv
import json
from collections.abc import Mapping
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch

import run_search
from evaluators.accuracy.resampled_map import load_tally, resampled_map
from evaluators.data.images import load_images
from evaluators.result import Result, Status
from evaluators.worker import Studied, Supernets
from leaderboards.entry import PARENT
from leaderboards.recipes.parts import Parts
from leaderboards.recipes.recipe import Recipe
from leaderboards.run_folder import TALLY
from leaderboards.run_records import HALVING
from leaderboards.runs.problem import Problem
from leaderboards.runs.strategies import objectives
from leaderboards.tuning.finetune import FinetuneRecipe
from leaderboards.tuning.finishing import MEASURED, Finishing, finish_row
from leaderboards.tuning.halving import Spent
from leaderboards.tuning.rungs import RUNGS, Halving, Rung, load_rung, run_rung, spend_epochs
from leaderboards.watcher import Watcher
from search.journal import Journal
from spaces.bases.names import SAME
from spaces.candidate import Candidate
from spaces.detectors.detector import load_detector, save_detector
from spaces.recovery.recovery import Recovery
from tests.spaces.untrained import study_without_images


@pytest.fixture(scope="module")
def supernets(problem: Problem) -> Supernets:
    inputs = problem.inputs
    calibration = load_images(inputs.dataset.train, imgsz=64)
    study = study_without_images(inputs.parent, problem.graph)
    return Supernets(inputs.parent, {SAME: Studied(problem.bases[SAME], calibration, study)}, Recovery.ADAPTIVE_BN)


@pytest.fixture(scope="module")
def candidate(problem: Problem) -> Candidate:
    return problem.space.sample(np.random.default_rng(0), limits=problem.limits)


def rung_of(problem: Problem, folder: Path, number: int, *, is_last: bool = False) -> Rung:
    holdout = problem.inputs.holdout
    return Rung(
        number,
        FinetuneRecipe(epochs=1, imgsz=64, seed=number),
        holdout.rest,
        () if is_last else holdout.search,
        folder,
        "cpu",
    )


def test_each_rung_goes_on_from_the_one_before_and_is_run_once(
    supernets: Supernets, problem: Problem, candidate: Candidate, tmp_path: Path
) -> None:
    reports: list[Mapping[str, float]] = []
    folder, candidates = tmp_path / candidate.id, {candidate.id: candidate}
    for number in range(2):
        run_rung(supernets, rung_of(problem, tmp_path, number, is_last=number == 1), candidates, candidate.id,
                 reports.append)  # fmt: skip
    assert [report["epoch"] for report in reports] == [1, 1]  # each rung has a schedule of its own
    told = [json.loads((folder / RUNGS / f"{number}.json").read_text(encoding="utf-8")) for number in range(2)]
    assert 0 <= told[0]["map50_95"] <= 1
    assert told[1]["map50_95"] is None  # nothing is decided after the last
    before = supernets.same.builder("cpu").float_network(candidate, supernets.recovery).state_dict()
    states = [before, *(load_rung(folder, number).state_dict() for number in range(2))]
    assert all(state.keys() == before.keys() for state in states)
    changed = [any(not torch.equal(one[name], two[name]) for name in before) for one, two in pairwise(states)]
    assert changed == [True, True]
    run_rung(supernets, rung_of(problem, tmp_path, 0), candidates, candidate.id, reports.append)
    assert len(reports) == 2
    (folder / RUNGS / "1.json").unlink()  # killed just before it was written
    run_rung(supernets, rung_of(problem, tmp_path, 1, is_last=True), candidates, candidate.id, reports.append)
    again = load_rung(folder, 1).state_dict()
    assert all(torch.equal(again[name], tensor) for name, tensor in states[2].items())
    assert not list(folder.rglob("*.pt"))


def test_rungs_that_stand_in_the_journal_are_not_run_again(
    parts: Parts, problem: Problem, supernets: Supernets, tmp_path: Path
) -> None:
    """12 epochs, 3 rows: three rungs; 12 // 9 = 1 each, then 9 // (2 * 2) = 2 each, then 5 // 2 for the last two."""
    front = [Result(n, Candidate("same", (("2.cv1", 8 * n),)), Status.DONE, {}, 0.0) for n in (1, 2, 3)]
    a, b, c = (result.candidate.id for result in front)
    place, costs = replace(parts.place, folder=tmp_path), objectives(parts.ranking.proxy, problem)[1:]
    tuning, inputs = FinetuneRecipe(epochs=9, imgsz=64), problem.inputs
    halving = Halving(inputs.holdout, supernets, place, tuning, costs)
    row = {"map50_95": 0.5, "seconds": 10.0}
    with Journal(tmp_path / "journal.jsonl", {}) as journal:
        journal.append(HALVING, {"rung": 0, "rows": {a: row, b: row, c: row}, "failed": {}, "go_on": [a, b]})
        journal.append(HALVING, {"rung": 1, "rows": {a: row}, "failed": {b: "CRASH: gone"}, "go_on": [a]})
        journal.append(HALVING, {"rung": 2, "rows": {a: row}, "failed": {}, "go_on": [a]})
        ledger = spend_epochs(12, front, halving, journal=journal, watcher=Watcher())
    expected = {a: Spent(2, 1 + 2 + 5, 30.0), b: Spent(0, 1, 10.0), c: Spent(0, 1, 10.0)}
    assert (ledger.spent, ledger.errors) == (expected, {b: "CRASH: gone"})


def test_a_row_that_had_its_share_of_the_budget_is_finished_as_it_is(
    supernets: Supernets, problem: Problem, candidate: Candidate, tmp_path: Path
) -> None:
    row, inputs = candidate.id, problem.inputs
    model = supernets.same.builder("cpu").float_network(candidate, supernets.recovery)
    save_detector(model, tmp_path / row / RUNGS / "1", candidate=candidate)
    recipe = FinetuneRecipe(epochs=9, imgsz=64)
    spent = {row: Spent(1, 4, 100.0)}
    finishing = Finishing(recipe, recipe, inputs.dataset.train, inputs.dataset.val, tmp_path, "cpu", spent=spent)
    reports: list[Mapping[str, float]] = []
    finish_row(supernets, finishing, {row: candidate}, row, reports.append)
    assert reports == []  # nothing was trained
    measured = json.loads((tmp_path / row / MEASURED).read_text(encoding="utf-8"))
    assert measured["epochs"] == 4
    assert measured["seconds"] > 100
    finished = load_detector(tmp_path / row)[0].state_dict()
    assert all(torch.equal(finished[name], tensor) for name, tensor in model.state_dict().items())
    assert not (tmp_path / row / RUNGS).exists()
    (whole,) = resampled_map(load_tally(tmp_path / row / TALLY), np.ones((1, len(inputs.dataset.val)), np.int64))
    assert whole == pytest.approx(measured["map50_95"], abs=1e-9)


@pytest.mark.slow
@pytest.mark.ray
def test_a_run_with_an_epoch_budget_spends_no_more_and_its_rows_say_their_epochs(
    recipe: Recipe, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [f"weights={recipe.weights}", f"data={recipe.data}", "imgsz=64", "gflops=60%", "candidates=4", "front=2",
             "epoch_budget=5", "search_images=1", "calibration_images=2", "workers=1", "precision=float32"]  # fmt: skip
    whole = tmp_path / "whole"
    assert run_search.main([*words, f"out={whole}"]) == 0, capsys.readouterr().err
    with (whole / "leaderboard.csv").open(encoding="utf-8") as file:
        rows = {row["id"]: row for row in csv.DictReader(file)}
    assert rows.pop(PARENT)["epochs"] == "0"
    assert rows.pop("parent@32")["epochs"] == "2"  # beside the budget: what a row has on average
    epochs = [int(row["epochs"]) for row in rows.values()]
    assert len(epochs) == 2
    assert min(epochs) >= 1
    assert sum(epochs) in (4, 5)  # one each, and then 3 for the one that is left, or 1 for both
    assert not list(whole.rglob(RUNGS))
