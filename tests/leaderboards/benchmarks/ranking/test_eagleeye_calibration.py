from pathlib import Path

import pytest

from leaderboards.benchmarks.ranking.eagleeye_calibration import best, compare, gain_of
from leaderboards.benchmarks.ranking.testbed import make_testbed
from leaderboards.recipes.recipe import Recipe
from search.journal import Journal
from spaces.importance.by_name import Importance
from spaces.networks.threads import one_thread
from spaces.recovery.recovery import Recovery


@pytest.mark.slow
def test_both_calibrations_judge_the_same_candidates(recipe: Recipe, tmp_path: Path) -> None:
    short = {"finetune_epochs": 1, "batch": 4, "workers": 1, "importance": Importance.L1}
    with one_thread():
        testbed = make_testbed("tiny", recipe.model_copy(update={**short, "recovery": Recovery.ADAPTIVE_BN}).parts())
        rows = compare(testbed, n=1, n_tuned=0, folder=tmp_path)
    results = Journal.read(tmp_path / "final.jsonl").results
    assert [row["calibration"] for row in rows] == ["published", "port"]
    assert {number: result.candidate for number, result in results.items()} == {0: testbed.draw(0)}  # both winners
    assert all(row["n"] == row["n_tuned"] == 1 and row["spearman_tuned"] == "-" for row in rows)
    assert {row["winner_tuned_map"] for row in rows} == {results[0].readings["map50_95"]}


def test_the_winner_is_the_first_of_the_best() -> None:
    assert best([{"port": 0.1}, {"port": 0.3}, {"port": 0.3}], "port") == 1


def row(tuned: float | str, sequential: float) -> dict[str, float | str | bool]:
    return {"spearman_tuned": tuned, "spearman_sequential": sequential}


def test_the_gain_is_by_fine_tuned_final_where_both_have_one() -> None:
    assert gain_of([row(0.9, 0.1), row(0.4, 0.8)]) == pytest.approx(0.5)
    assert gain_of([row(0.9, 0.1), row("-", 0.8)]) == pytest.approx(-0.7)
