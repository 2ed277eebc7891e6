from pathlib import Path

import pytest

import run_search
from leaderboards.benchmarks.whole_runs.ablation import WITHOUT, _plans, rows_of
from leaderboards.benchmarks.whole_runs.comparison import DEFAULT, FinishedRun
from leaderboards.reports.across.past_run import read_past_run
from tests.leaderboards.reports.across.test_board import write_run

N_FOUND = {DEFAULT: 44, "reconstruction": 30, "teacher": 46}


def test_rows_tell_what_each_part_is_worth_the_least_missed_first(tmp_path: Path) -> None:
    finished = [
        FinishedRun(name, 0.4, seed, read_past_run(write_run(tmp_path / f"{name}{seed}", {"a": (found - seed, 0.4)})))
        for name, found in N_FOUND.items()
        for seed in range(2)
    ]
    default, teacher, reconstruction = rows_of(finished)
    assert (default["without"], default["default_leads_by"]) == ("", "-")
    assert (teacher["without"], teacher["instead"]) == ("teacher", "distill=0")
    assert teacher["default_leads_by"] == pytest.approx(-2 / 60)
    assert reconstruction["default_leads_by"] == pytest.approx(14 / 60)
    assert reconstruction["map50_95"] == pytest.approx(29.5 / 60)
    assert (reconstruction["pairs"], reconstruction["least_p"]) == (2, 0.5)


def test_a_part_without_which_nothing_came_of_the_run_has_its_row_with_the_reason(tmp_path: Path) -> None:
    whole = FinishedRun(DEFAULT, 0.4, 0, read_past_run(write_run(tmp_path / "a", {"a": (44, 0.4)})))
    rows = rows_of([whole, FinishedRun("search", 0.4, 0, None, "no candidate is within the budget")])
    failed = next(row for row in rows if row["without"] == "search")
    assert (failed["map50_95"], failed["error"]) == ("-", "no candidate is within the budget")


def test_every_run_differs_from_the_default_in_one_part_alone() -> None:
    words = ["candidates=24", "front=1", "finetune_epochs=1"]
    plans = {plan.name: plan for plan in _plans("digits", words, [0.4], range(1), Path("runs"))}
    assert list(plans) == list(WITHOUT)
    whole = plans[DEFAULT].parts.settings
    for name, plan in plans.items():
        own = plan.parts.settings
        changed = {key for key in whole if own[key] != whole[key]} - {"out"}
        assert changed == {word.split("=")[0] for word in WITHOUT[name]}


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("budgets=0", "budgets must be a number from 1"),
        ("seeds=0", "seeds must be a number from 1"),
        ("epochs=-1", "finetune_epochs: "),
        ("data=nonsense", "data='nonsense' must be digits"),
    ],
)
def test_what_cannot_be_run_is_refused_in_one_line(words: str, told: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_search.main(["bench", "ablation", words]) == 2
    message = capsys.readouterr().err
    assert told in message
    assert message.count("\n") == 1
