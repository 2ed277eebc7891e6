from dataclasses import replace
from pathlib import Path

import pytest

import run_search
from leaderboards.benchmarks.whole_runs.swaps import SwapRecipe, make_swapping, read_names, swap_rows
from leaderboards.recipes.parts import Parts
from leaderboards.runs.problem import Problem
from search.journal import Journal
from spaces.errors import BadInput


@pytest.fixture
def swapping(parts: Parts, problem: Problem, tmp_path: Path) -> SwapRecipe:
    """Return one epoch of each training on four images at 64 px."""
    short = replace(parts, tuning=replace(parts.tuning, epochs=1))
    return make_swapping(short, problem.inputs, graft_epochs=1, weights={}, folder=tmp_path / "swaps")


@pytest.mark.slow
def test_rows_are_made_once_and_checkpoints_are_cleared_away(swapping: SwapRecipe) -> None:
    rows = swap_rows(swapping, ["mobilenetv3_small"])
    assert [row["backbone"] for row in rows] == ["same", "mobilenetv3_small"]
    assert rows[0]["map_grafted"] == rows[0]["map50_95"]
    assert 0 < float(rows[1]["macs_g"]) < float(rows[0]["macs_g"])
    assert float(rows[1]["latency_ms"]) > 0
    assert float(rows[1]["minutes"]) > 0 == float(rows[0]["minutes"])
    epochs = Journal.read(swapping.folder / "swaps.jsonl").records("epoch")
    assert [(epoch["stage"], epoch["epoch"]) for epoch in epochs] == [("graft", 1), ("finetune", 1)]
    again = swap_rows(swapping, ["mobilenetv3_small"])
    for row, other in zip(rows, again, strict=True):  # only latencies are timed anew
        assert {name for name in row if row[name] != other[name]} <= {"latency_ms", "latency_low_ms", "latency_high_ms"}
    assert len(Journal.read(swapping.folder / "swaps.jsonl").records("epoch")) == 2
    assert not (swapping.folder / "mobilenetv3_small").exists()


def test_rows_of_other_settings_do_not_stand_in_one_table(swapping: SwapRecipe) -> None:
    swap_rows(swapping, [])
    with pytest.raises(BadInput, match="tuning"):
        swap_rows(replace(swapping, tuning=replace(swapping.tuning, epochs=2)), [])


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("backbones=resnet", "backbones must be some of ghostnet, "),
        ("backbones=lcnet,lcnet", "backbones must be different ones"),
        ("graft_epochs=-1", "graft_epochs must be a number from 0"),
        ("epochs=1.5", "epochs must be a whole number"),
        ("data=nonsense", "data='nonsense' must be digits"),
        ("backbone_weights=lcnet:nowhere.pth", "'nowhere.pth' not found"),
        ("backbone_weights=lcnet", "must be BACKBONE:FILE"),
    ],
)
def test_what_cannot_be_asked_is_refused_in_one_line(words: str, told: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_search.main(["bench", "swaps", *words.split()]) == 2
    message = capsys.readouterr().err
    assert told in message
    assert message.count("\n") == 1


def test_backbones_are_named_with_commas() -> None:
    assert read_names("lcnet,ghostnet") == ["lcnet", "ghostnet"]
