from pathlib import Path

import pytest

from evaluators.data.images import load_images
from evaluators.result import Result, Status
from evaluators.worker import Studied, Workshop
from leaderboards.recipes.recipe import Recipe
from leaderboards.runs.problem import Problem
from leaderboards.runs.run import _search
from leaderboards.runs.rungs import rung_proxies
from search.journal import Journal
from search.strategies.ladder import RUNG
from spaces.bases.base import SAME
from spaces.recovery.recovery import Recovery
from tests.spaces.untrained import study_without_images

pytestmark = pytest.mark.usefixtures("threads")


class Silent:
    """A watcher of a run that nobody watches."""

    def stage(self, text: str) -> None: ...

    def on_result(self, result: Result) -> None: ...

    def on_epoch(self, name: str, readings: object) -> None: ...


@pytest.fixture(scope="module")
def workshop(problem: Problem) -> Workshop:
    inputs = problem.inputs
    calibration = load_images(inputs.dataset.train, imgsz=64)
    study = study_without_images(inputs.parent, problem.graph)
    return Workshop(inputs.parent, {SAME: Studied(problem.bases[SAME], calibration, study)}, Recovery.ADAPTIVE_BN)


def climbing(recipe: Recipe, *rungs: str) -> Recipe:
    return recipe.model_copy(
        update={"ladder": rungs, "strategy": "evolution", "candidates": 3, "workers": 1, "proxy": "map_adaptive_bn"}
    )


def test_arithmetic_stays_here_and_networks_are_built_where_candidates_are_measured(recipe: Recipe) -> None:
    assert rung_proxies(climbing(recipe, "block_loss:20", "loss_one_shot:4", "kept_l1:2")) == {-2: "loss_one_shot"}
    assert rung_proxies(recipe) == {}


def test_a_search_measures_the_best_of_each_rung_and_only_these(
    recipe: Recipe, problem: Problem, workshop: Workshop, tmp_path: Path
) -> None:
    recipe = climbing(recipe, "kept_l1:3", "loss_vanilla:2")
    with Journal(tmp_path / "journal.jsonl", {}) as journal:
        results = _search(recipe, problem, workshop, journal, Silent())
        rungs = [Result.from_json(record) for record in journal.records(RUNG)]
    assert [result.number for result in results] == [0, 1, 2]
    assert all(result.status is Status.DONE and "map_adaptive_bn" in result.readings for result in results)
    assert len(rungs) == 2 * 3  # of 3 x 3 x 2 proposals, a third goes on to the second rung
    assert all(rung.number == -2 and "loss_vanilla" in rung.readings for rung in rungs)
    assert {result.candidate for result in results} <= {rung.candidate for rung in rungs}

    with Journal(tmp_path / "journal.jsonl", {}) as journal:
        n_before = len(journal.records(RUNG))
        assert _search(recipe, problem, workshop, journal, Silent()) == results
        assert len(journal.records(RUNG)) == n_before
