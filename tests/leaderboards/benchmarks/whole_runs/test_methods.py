from pathlib import Path

import numpy as np
import pytest
from scipy.stats import permutation_test

import run_search
from leaderboards.benchmarks.whole_runs.comparison import (
    NEVER,
    FinishedRun,
    fields_of,
    holds,
    rows_of,
    sign_flips,
    worst_share,
)
from leaderboards.benchmarks.whole_runs.methods import _plans, _Shared, read_names
from leaderboards.recipes.strategy_keys import NAMES
from leaderboards.reports.across.past_run import read_past_run
from spaces.errors import BadInput
from tests.leaderboards.reports.across.test_board import write_run

N_FOUND = {"informed": [30, 44, 46], "random": [10, 20, 30], "tpe": [20, 30, 38]}


def runs_of(tmp_path: Path, found: dict[str, list[int]], *, seeds: int = 2) -> list[FinishedRun]:
    """Return runs of three candidates each at equal cost, all of them rows, at 60 % of the MACs."""
    finished = []
    for strategy, scores in found.items():
        for seed in range(seeds):
            rows = {f"{strategy}{place}": (score - seed, 0.6) for place, score in enumerate(scores)}
            folder = tmp_path / f"{strategy}-60-seed{seed}"
            run = read_past_run(write_run(folder, rows, strategy=strategy, seed=seed))
            finished.append(FinishedRun(strategy, 0.6, seed, run))
    return finished


def test_the_default_is_held_against_the_best_other_strategy(tmp_path: Path) -> None:
    """The rival is tpe, which ends where the default is after 2 of its 3 evaluations: at equal cost only mAP counts."""
    finished = runs_of(tmp_path, N_FOUND)
    (field,) = fields_of(finished)
    assert field.rival == "tpe"
    assert worst_share(finished) == pytest.approx(2 / 3)
    assert worst_share(runs_of(tmp_path / "b", {**N_FOUND, "tpe": [47, 48, 49]})) == NEVER


def test_rows_tell_the_best_map_what_it_lost_and_the_time(tmp_path: Path) -> None:
    first, second, third = rows_of(runs_of(tmp_path, N_FOUND))
    assert [row["strategy"] for row in (first, second, third)] == ["informed", "tpe", "random"]
    assert first["map50_95"] == pytest.approx((46 + 45) / 2 / 60)
    assert first["map_lost"] == pytest.approx(50 / 60 - 45.5 / 60)
    assert second["default_leads_by"] == pytest.approx(8 / 60)
    assert (second["pairs"], second["p"], second["least_p"]) == (2, 0.5, 0.5)
    assert first["p"] == "-"
    assert first["evaluations"] == 3
    assert first["search_seconds"] == pytest.approx(3 * 1.5)  # no clock: what the workers took
    assert first["hypervolume"] == first["hypervolume_at_equal_seconds"]
    assert first["tuning_seconds"] == pytest.approx(4 * 412.0)  # the failed row took its time too
    assert {frozenset(row) for row in (first, second, third)} == {frozenset(first)}


def test_a_strategy_of_which_nothing_came_has_its_row_with_the_reason(tmp_path: Path) -> None:
    failed = FinishedRun("pagcp", 0.6, 0, None, "no candidate is within the budget")
    rows = rows_of([*runs_of(tmp_path, N_FOUND), failed])
    assert rows[-1]["strategy"] == "pagcp"
    assert rows[-1]["map50_95"] == "-"
    assert rows[-1]["error"] == "no candidate is within the budget"


def test_half_of_what_random_loses_is_the_most_the_default_may_lose(tmp_path: Path) -> None:
    """The parent finds 50 of 60, random 30, so the default must find at least 40."""
    assert holds(runs_of(tmp_path / "a", {"informed": [41], "random": [30]}, seeds=1))
    assert not holds(runs_of(tmp_path / "b", {"informed": [39], "random": [30]}, seeds=1))
    assert holds(runs_of(tmp_path / "c", {"informed": [39], "tpe": [45]}, seeds=1))


def test_where_random_is_above_the_parent_the_default_must_be_as_far(tmp_path: Path) -> None:
    assert holds(runs_of(tmp_path / "a", {"informed": [56], "random": [55]}, seeds=1))
    assert not holds(runs_of(tmp_path / "b", {"informed": [54], "random": [55]}, seeds=1))


def test_sign_flips_are_those_of_scipy_and_say_how_little_few_pairs_can_show() -> None:
    differences = [0.02, 0.03, -0.01, 0.04, 0.02]
    expected = permutation_test((np.array(differences),), np.mean, permutation_type="samples", n_resamples=np.inf)
    assert sign_flips(differences)[0] == pytest.approx(expected.pvalue)
    assert sign_flips([0.1, 0.2, 0.3]) == (0.25, 0.25)
    assert sign_flips([0.1] * 6) == (0.03125, 0.03125)


def test_all_strategies_that_a_recipe_knows_are_compared_unless_said_otherwise() -> None:
    assert read_names("all") == list(NAMES)
    assert {"informed", "random"} < {*NAMES}
    assert read_names("random,informed") == ["random", "informed"]
    for text in ("informed", "random", "informed,random,random", "informed,unstructured"):
        with pytest.raises(BadInput, match="at least one other"):
            read_names(text)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("strategies=informed,magic", "strategies must be some of informed"),
        ("budgets=60,0", "budgets must be a number from 1"),
        ("seeds=0", "seeds must be a number from 1"),
        ("candidates=0", "candidates: "),
        ("data=nonsense", "data='nonsense' must be digits"),
        ("out=../x", "out: must be a name"),
    ],
)
def test_what_cannot_be_compared_is_refused_in_one_line(
    words: str, told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_search.main(["bench", "methods", *words.split()]) == 2
    message = capsys.readouterr().err
    assert told in message
    assert message.count("\n") == 1


def test_a_control_makes_one_row_whatever_the_searches_make() -> None:
    setting = _Shared(["candidates=24", "front=2", "finetune_epochs=1"], "runs")
    plans = list(_plans("digits", ["informed", "unstructured"], [0.6], range(1), setting))
    assert [(plan.parts.ranking.candidates, plan.parts.ranking.front) for plan in plans] == [(24, 2), (1, 1)]
