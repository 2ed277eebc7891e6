from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml

from evaluators.runtimes.precision import Precision
from leaderboards.entry import PARENT, Entry
from leaderboards.environment import LIBRARIES, environment
from leaderboards.files.export_row import export_row
from leaderboards.reports.card import card
from leaderboards.reports.publish import publish
from leaderboards.run_folder import read_board, read_run
from leaderboards.run_records import SPACE
from search.journal import Journal
from spaces.errors import BadInput
from tests.leaderboards.synthetic import BLOCKS, HOSTILE, LIMITS, file_of, make_board, make_results, with_file

BOARD = make_board()
FIRST = BOARD.rows[0]


def write_run(folder: Path, entries: list[Entry], **space: object) -> Path:
    """Return `folder` as a finished run of the synthetic results and these entries."""
    (folder / "recipe.yaml").write_text(yaml.safe_dump({"imgsz": 320}), encoding="utf-8")
    with Journal(folder / "journal.jsonl", {}) as journal:
        blocks = [list(block) for block in BLOCKS]
        journal.append(SPACE, {"limits": LIMITS, "blocks": blocks, "notes": ["A note."], **space})
        for result in make_results(np.random.default_rng(0), n=12):
            journal.append_result(result)
        for entry in entries:
            journal.append("entry", entry.to_json())
    return folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_run(tmp_path, list(BOARD.entries))


def test_a_board_is_read_back_from_the_journal(folder: Path) -> None:
    journal, recipe = read_run(folder)
    board = read_board(journal, folder)
    assert list(board.entries) == list(BOARD.entries)
    assert board.limits == {"gflops": 2 * LIMITS["macs_g"], "latency_ms": LIMITS["latency_ms"]}
    assert recipe == {"imgsz": 320}


def test_a_run_without_labels_is_read_back_as_one_and_all_its_pages_say_so(tmp_path: Path) -> None:
    board = publish(write_run(tmp_path, list(BOARD.entries), is_labelled=False))
    assert not board.is_labelled
    for page in ("leaderboard.md", "report.html"):
        text = (tmp_path / page).read_text(encoding="utf-8")
        assert "Nothing was judged by labels" in text
        assert "agreement" in text
    assert board.choice(board.rows[0]) is not None


def test_publishing_writes_tables_report_and_a_card_where_there_are_models(folder: Path) -> None:
    (folder / "models" / FIRST.id).mkdir(parents=True)
    publish(folder)
    assert {"leaderboard.csv", "leaderboard.md", "report.html"} <= {path.name for path in folder.iterdir()}
    assert (folder / "models" / FIRST.id / "card.md").read_text(encoding="utf-8") == card(FIRST, BOARD)
    assert [path.name for path in (folder / "models").iterdir()] == [FIRST.id]


def test_a_network_that_ultralytics_cannot_open_has_a_card_that_says_so_and_no_other_formats(folder: Path) -> None:
    models = folder / "models" / FIRST.id
    models.mkdir(parents=True)
    (models / "model.onnx").touch()
    publish(folder)
    assert (models / "card.md").read_text(encoding="utf-8") == card(FIRST, BOARD, has_pt=False)
    assert "no model.pt" in card(FIRST, BOARD, has_pt=False)
    assert "no model.pt" not in card(FIRST, BOARD)
    with pytest.raises(BadInput, match=r"format=openvino needs model\.pt"):
        export_row(folder, FIRST.id, "openvino")
    assert export_row(folder, FIRST.id, "onnx") == models / "model.onnx"


def test_a_folder_without_a_run_or_without_rows_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput):
        publish(tmp_path)
    with pytest.raises(BadInput, match="no finished rows yet"):
        publish(write_run(tmp_path, []))


def test_a_card_says_what_was_measured_of_which_file_and_what_the_parent_has() -> None:
    quality, text = FIRST.quality, card(FIRST, BOARD)
    assert quality is not None
    assert text.startswith(f"# {FIRST.id}\n")
    assert f"{quality.map50_95:.4f} (parent 0.474) | {file_of(quality, Precision.INT8).map50_95:.4f}" in text
    assert f"{quality.gflops:.3f} GFLOPs (2 x MACs) at 320 px, {quality.params_m:.3f} M parameters" in text
    assert all(f"{name} {kept}" in text for name, kept in FIRST.candidate.picks)
    assert "INT8: convolutions run as integers; what comes after" in text  # of a run from before files were portable
    portable = replace(file_of(quality, Precision.INT8), kind="portable")
    told = card(replace(FIRST, quality=with_file(quality, portable)), BOARD)
    assert "INT8: convolutions run as integers; on no processor do its sums overflow; what comes after" in told
    assert "AGPL-3.0" in text


def test_a_card_of_another_backbone_names_it_and_what_its_file_needs() -> None:
    swapped = replace(FIRST, candidate=replace(FIRST.candidate, base="ghostnet-1@128"))
    assert "Base: ghostnet-1@128." in card(swapped, BOARD)
    assert "with timm installed" in card(swapped, BOARD)
    assert "timm" not in card(FIRST, BOARD)


def test_the_parents_card_is_not_beside_itself_and_a_failed_parent_beside_nothing() -> None:
    assert "Base: same. Channels kept where they differ from it: all." in card(BOARD.parent, BOARD)
    assert "(parent" not in card(BOARD.parent, BOARD)
    failed = replace(BOARD.parent, quality=None)
    assert "(parent" not in card(FIRST, replace(BOARD, entries=[failed, *BOARD.rows]))


def test_the_environment_names_the_versions_of_what_is_measured_with() -> None:
    facts = environment()
    assert {"python", "system", "processor", *LIBRARIES} == set(facts)
    assert all(facts.values())


@pytest.mark.parametrize(
    ("file_format", "name"), [("onnx", "model.onnx"), ("int8", "model_int8.onnx"), ("pt", "model.pt")]
)
def test_a_format_that_is_there_is_only_named(folder: Path, file_format: str, name: str) -> None:
    file = folder / "models" / FIRST.id / name
    file.parent.mkdir(parents=True)
    file.touch()
    assert export_row(folder, FIRST.id, file_format) == file


@pytest.mark.parametrize("file_format", ["onnx", "int8", "pt", "torchscript"])
def test_files_that_are_gone_are_not_named(folder: Path, file_format: str) -> None:
    with pytest.raises(BadInput, match="is not there"):
        export_row(folder, FIRST.id, file_format)


@pytest.mark.parametrize("row", [None, "nobody", "../..", HOSTILE])
def test_a_row_that_is_not_finished_is_refused_and_those_that_are_get_named(folder: Path, row: str | None) -> None:
    with pytest.raises(BadInput, match=f"id must be a finished row of this run .*{PARENT}"):
        export_row(folder, row, "onnx")


def test_a_near_miss_of_an_id_is_named(folder: Path) -> None:
    with pytest.raises(BadInput, match=f"did you mean '{FIRST.id}'"):
        export_row(folder, f"{FIRST.id}x", "onnx")


def test_a_card_says_where_the_milliseconds_go_if_they_were_measured() -> None:
    quality = FIRST.quality
    assert quality is not None
    assert "to make it ready" not in card(FIRST, BOARD)
    timed = replace(FIRST, quality=replace(quality, preprocess_ms=0.5, postprocess_ms=1.25))
    assert f"0.50 ms to make it ready, {quality.own.latency_ms:.2f} ms in the network, 1.25 ms" in card(timed, BOARD)
