from dataclasses import replace
from pathlib import Path

import pytest

from leaderboards.benchmarks.whole_runs.comparison import FinishedRun
from leaderboards.benchmarks.whole_runs.obvious import _plans, _row
from leaderboards.entry import REFERENCE
from leaderboards.leaderboard import Leaderboard
from leaderboards.reports.across.past_run import PastRun, read_past_run
from spaces.errors import BadInput
from tests.leaderboards.reports.across.test_board import N_IMAGES, write_run


def run_with(tmp_path: Path, rows: dict[str, int], *, references: tuple[str, ...]) -> PastRun:
    """Return a run whose rows find so many of the boxes, some of them as references."""
    run = read_past_run(write_run(tmp_path / "run", {name: (found, 0.5) for name, found in rows.items()}))
    entries = [replace(entry, strategy=REFERENCE) if entry.id in references else entry for entry in run.board.entries]
    return replace(run, board=Leaderboard(entries, run.board.limits))


def test_the_best_row_is_held_against_the_best_reference(tmp_path: Path) -> None:
    found = {"a": 40, "b": 30, "parent@32": 35, "tiny@64": 20}
    run = run_with(tmp_path, found, references=("parent@32", "tiny@64"))
    row = _row(FinishedRun("informed", 0.5, 0, run), "digits", "0")
    each = 1 / N_IMAGES
    assert [row["ours"], row["above"]] == pytest.approx([40 * each, 5 * each])
    assert str(row["obvious parent"]).startswith(f"{35 * each:.4f} at ")
    assert float(row["low"]) <= float(row["above"]) <= float(row["high"])


def test_a_run_without_a_reference_says_nothing(tmp_path: Path) -> None:
    run = run_with(tmp_path, {"a": 40}, references=())
    with pytest.raises(BadInput, match="no reference"):
        _row(FinishedRun("informed", 0.5, 0, run), "digits", "0")
    with pytest.raises(BadInput, match="a run failed: nothing"):
        _row(FinishedRun("informed", 0.5, 0, None, "nothing"), "digits", "0")


def test_each_budget_and_seed_is_a_run_with_its_references(tmp_path: Path) -> None:
    plans = list(_plans("digits", ["finetune_epochs=0"], (0.7, 0.5), range(2), tmp_path))
    assert [(plan.share, plan.parts.ranking.seed) for plan in plans] == [(0.7, 0), (0.5, 0), (0.7, 1), (0.5, 1)]
    assert all(plan.parts.ranking.has_references and plan.parts.bases.is_sized for plan in plans)
