from pathlib import Path

import pytest

from evaluators.data.images import load_images
from evaluators.result import Result, Status
from evaluators.worker import Studied, Supernets
from leaderboards.recipes.parts import Parts
from leaderboards.recipes.recipe import Recipe
from leaderboards.runs.fidelities import fidelity_proxies
from leaderboards.runs.problem import Problem
from leaderboards.runs.run import _search
from leaderboards.watcher import Watcher
from search.journal import Journal
from search.strategies.ladder import FIDELITY
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


def climbing(recipe: Recipe, *fidelities: str) -> Parts:
    own = {"strategy": "evolution", "candidates": 3, "workers": 1, "proxy": "map_adaptive_bn"}
    return recipe.model_copy(update={"ladder": fidelities, **own}).parts()


def test_arithmetic_stays_here_and_networks_are_built_where_candidates_are_measured(
    recipe: Recipe, parts: Parts
) -> None:
    climbed = climbing(recipe, "block_loss:20", "loss_one_shot:4", "kept_l1:2")
    assert fidelity_proxies(climbed.ranking.ladder) == {-2: "loss_one_shot"}
    assert fidelity_proxies(parts.ranking.ladder) == {}


def test_a_search_measures_the_best_of_each_fidelity_and_only_these(
    recipe: Recipe, problem: Problem, supernets: Supernets, tmp_path: Path
) -> None:
    asked = climbing(recipe, "kept_l1:3", "loss_vanilla:2")
    with Journal(tmp_path / "journal.jsonl", {}) as journal:
        results = _search(asked.ranking, asked.place, problem, supernets, journal=journal, watcher=Watcher())
        fidelities = [Result.from_json(record) for record in journal.records(FIDELITY)]
    assert [result.number for result in results] == [0, 1, 2]
    assert all(result.status is Status.DONE and "map_adaptive_bn" in result.readings for result in results)
    assert len(fidelities) == 2 * 3  # of 3 x 3 x 2 proposals, a third goes on to the second fidelity
    assert all(fidelity.number == -2 and "loss_vanilla" in fidelity.readings for fidelity in fidelities)
    assert {result.candidate for result in results} <= {fidelity.candidate for fidelity in fidelities}

    with Journal(tmp_path / "journal.jsonl", {}) as journal:
        n_before = len(journal.records(FIDELITY))
        again = _search(asked.ranking, asked.place, problem, supernets, journal=journal, watcher=Watcher())
        assert again == results
        assert len(journal.records(FIDELITY)) == n_before
