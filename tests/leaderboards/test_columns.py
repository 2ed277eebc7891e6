import csv
import io
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from evaluators.runtimes.precision import Precision
from leaderboards.columns import COLUMNS, all_columns, called, numbers, title_of
from leaderboards.entry import PARENT, DeployedFile, Entry
from leaderboards.leaderboard import Leaderboard
from leaderboards.reports.card import card
from leaderboards.reports.charts import precisions
from leaderboards.reports.findings import headline
from leaderboards.reports.render import markdown, write_terminal
from leaderboards.reports.table import tabulate
from leaderboards.select import select
from leaderboards.wording import MISSING
from spaces.errors import NothingFeasible
from tests.leaderboards.synthetic import file_of, with_bits, with_file
from tests.leaderboards.test_leaderboard import board_of, quality_of

EXACT = DeployedFile(
    "openvino", Precision.FP32, "model_openvino.xml", size_mb=6.25, map50_95=0.4444, latency_ms=9.0,
    latency_p95_ms=9.5, error=2e-6,
)  # fmt: skip
INT8 = DeployedFile(
    "openvino", Precision.INT8, "model_openvino_int8.xml", size_mb=1.75, map50_95=0.4321, latency_ms=12.125,
    latency_p95_ms=13.5,
)  # fmt: skip
MORE = (
    "openvino_fp32_map50_95", "openvino_fp32_latency_ms", "openvino_fp32_latency_p95_ms", "openvino_fp32_size_mb",
    "openvino_int8_map50_95", "openvino_int8_latency_ms", "openvino_int8_latency_p95_ms", "openvino_int8_size_mb",
)  # fmt: skip
MEASURED = dict(zip(MORE, (0.4444, 9.0, 9.5, 6.25, 0.4321, 12.125, 13.5, 1.75), strict=True))
# in ms as fp32 and INT8: the parent 34 and 21.1, c0 of share 0.6 23.6 and 14.6, c1 of share 0.3 15.8 and 9.8
SHARES = [(0.6, 0.0), (0.3, 0.0)]


def plain(limits: dict[str, float]) -> Leaderboard:
    """Return a board of files of the default runtime."""
    return board_of(SHARES, limits)


def mixed(limits: dict[str, float]) -> Leaderboard:
    """Return the same board, where c0 has files of another runtime too."""
    entries = [
        replace(entry, quality=with_file(with_file(quality_of(entry), EXACT), INT8)) if entry.id == "c0" else entry
        for entry in plain({}).entries
    ]
    return Leaderboard(entries, limits)


def entry_of(board: Leaderboard, name: str) -> Entry:
    return next(entry for entry in board.entries if entry.id == name)


def rows_of(board: Leaderboard, path: Path) -> dict[str, dict[str, str]]:
    """Return the rows of leaderboard.csv by their ids."""
    board.write_csv(path)
    return {row["id"]: row for row in csv.DictReader(path.read_text(encoding="utf-8").splitlines())}


@pytest.mark.parametrize("limits", [{}, {"latency_ms": 30.0}, {"gflops": 4.0}])
def test_the_old_columns_stay_as_they_were_and_those_of_another_runtime_are_appended(
    limits: dict[str, float], tmp_path: Path
) -> None:
    before, now = (rows_of(make(limits), tmp_path / "leaderboard.csv") for make in (plain, mixed))
    assert list(now) == list(before)
    for name, row in now.items():
        assert list(row) == [*COLUMNS, *MORE]
        assert {column: row[column] for column in COLUMNS} == before[name]
        assert {column: row[column] for column in MORE} == (
            {column: f"{value:.6g}" for column, value in MEASURED.items()} if name == "c0" else dict.fromkeys(MORE, "")
        )


def test_a_board_of_the_default_runtime_has_the_old_columns_alone() -> None:
    assert list(plain({}).frame().columns) == list(COLUMNS)
    assert all_columns([]) == list(COLUMNS)


def test_numbers_are_those_of_the_row_its_own_file_and_the_others_by_their_columns() -> None:
    quality = quality_of(entry_of(mixed({}), "c0"))
    found, int8 = numbers(quality), file_of(quality, Precision.INT8)
    assert {name: found[name] for name in MORE} == MEASURED
    assert (found["map50_95"], found["size_mb"]) == (quality.map50_95, quality.own.size_mb)
    assert found["latency_ms"] == found["network_ms"] == quality.own.latency_ms
    assert (found["int8_map50_95"], found["int8_latency_ms"]) == (int8.map50_95, int8.latency_ms)
    assert set(found) <= {*COLUMNS, *MORE}
    assert "latency_low_ms" not in found  # it was not measured


def test_a_file_is_called_by_its_precision_after_any_runtime_but_the_default_one() -> None:
    own, int8 = quality_of(plain({}).parent).files
    assert [called(file) for file in (own, int8, EXACT, INT8)] == ["fp32", "int8", "openvino fp32", "openvino int8"]
    assert [title_of(own), title_of(int8)] == ["fp32", "INT8"]
    assert [title_of(file).lower() for file in (EXACT, INT8)] == ["openvino fp32", "openvino int8"]
    assert title_of(replace(INT8, runtime="unheard_of")) == "unheard_of INT8"


@pytest.mark.parametrize("is_brief", [True, False])
def test_the_table_has_the_map_and_latency_of_each_further_file(is_brief: bool) -> None:
    before, now = (tabulate(make({}), is_brief=is_brief) for make in (plain, mixed))
    n = len(before.headings)
    assert now.headings[:n] == before.headings
    assert [(heading.title, heading.unit) for heading in now.headings[n:]] == [
        (f"{title_of(EXACT)} mAP", "50-95"),
        (f"{title_of(EXACT)} latency", "ms"),
        (f"{title_of(INT8)} mAP", "50-95"),
        (f"{title_of(INT8)} latency", "ms"),
    ]
    assert [row.cells[:n] for row in now.rows] == [row.cells for row in before.rows]
    assert {row.id: row.cells[n:] for row in now.rows} == {
        PARENT: (MISSING,) * 4, "c0": ("0.444", "9.00", "0.432", "12.1"), "c1": (MISSING,) * 4,
    }  # fmt: skip


def test_the_terminal_shows_them_and_cuts_no_number() -> None:
    board, file = mixed({"latency_ms": 9.25}), io.StringIO()
    write_terminal(board, Console(file=file))
    text = file.getvalue()
    assert "…" not in text
    for row in tabulate(board, is_brief=True).rows:
        shown = " ".join((row.rank, row.id, *row.cells, row.meets))
        assert set(shown.split()) <= set(text.split())


def test_markdown_shows_them() -> None:
    rows = [line for line in markdown(mixed({})).splitlines() if line.startswith("|")]
    assert len({line.count("|") for line in rows}) == 1
    (row,) = (line for line in rows if "| c0 |" in line)
    assert "| 0.444 | 9.00 | 0.432 | 12.1 |" in row


def test_a_file_that_alone_meets_a_limit_is_handed_out_by_its_name(tmp_path: Path) -> None:
    board = mixed({"latency_ms": 9.25})
    choice = select(board, board.limits)
    assert (choice.entry.id, choice.file, choice.map50_95) == ("c0", EXACT, EXACT.map50_95)
    assert (choice.readings["latency_ms"], choice.readings["size_mb"]) == (9.0, 6.25)
    assert choice.readings["bops_g"] == 32 * 32 * choice.readings["macs_g"]
    assert board.rows[0].id == "c0"
    rows = rows_of(board, tmp_path / "leaderboard.csv")
    assert {name: (row["within_budget"], row["meets_as"]) for name, row in rows.items()} == {
        PARENT: ("False", ""), "c0": ("True", "openvino fp32"), "c1": ("False", ""),
    }  # fmt: skip
    meets = {row.id: row.meets for row in tabulate(board, is_brief=True).rows}
    assert meets == {PARENT: "no", "c0": f"as {title_of(EXACT)}", "c1": "no"}
    assert headline(board).startswith("c0 (openvino fp32) is the best model within the budget: mAP50-95 0.444")
    with pytest.raises(NothingFeasible):
        select(plain({}), board.limits)


def test_the_files_of_the_default_runtime_are_handed_out_first() -> None:
    assert select(mixed({}), {"latency_ms": 25.0, "gflops": 4.0}).file == quality_of(entry_of(mixed({}), "c0")).own
    choice = mixed({"latency_ms": 15.0}).choice(entry_of(mixed({}), "c0"))
    assert choice is not None
    assert called(choice.file) == "int8"


def test_a_miss_by_a_further_file_names_it() -> None:
    with pytest.raises(NothingFeasible, match=r"the nearest is c0 \(openvino fp32\): latency_ms 9\.00, 12 % over"):
        select(mixed({}), {"latency_ms": 8.0})


def test_integers_of_another_runtime_have_at_most_eight_bits_too() -> None:
    choice = select(mixed({}), {"size_mb": 2.0, "latency_ms": 12.5, "gflops": 4.0})
    quality = quality_of(choice.entry)
    # c0 has an INT8 file of 1.65 MB that takes 14.6 ms, c1 one of 0.77 MB and 9.8 ms with mAP 0.474 - 0.074 - 0.013
    assert choice.file == INT8
    assert quality.readings(INT8)["bops_g"] == pytest.approx(64 * quality.gflops / 2)


def test_a_card_has_a_column_for_each_file() -> None:
    board = mixed({})
    lines = card(entry_of(board, "c0"), board).splitlines()
    head, rule, score, latency, size = (line.strip("| ").split(" | ") for line in lines[2:7])
    assert head[1:3] == ["fp32 (model.onnx)", "INT8 (model_int8.onnx)"]
    assert head[3:] == [f"{title_of(EXACT)} (model_openvino.xml)", f"{title_of(INT8)} (model_openvino_int8.xml)"]
    assert {len(cells) for cells in (head, rule, score, latency, size)} == {5}
    assert score[3:] == ["0.4444", "0.4321"]
    assert latency[3:] == ["9.00 (9.50)", "12.12 (13.50)"]
    assert size[3:] == ["6.25", "1.75"]
    files = next(line for line in lines if line.startswith("Files: "))
    assert "model.onnx, model_int8.onnx, model_openvino.xml, model_openvino_int8.xml" in files
    assert "openvino" not in card(entry_of(board, "c1"), board).lower()


def test_the_chart_of_precisions_has_a_mark_for_each_file() -> None:
    text = precisions(mixed({}))
    assert f"c0, {title_of(EXACT)}" in text
    assert f"c0, {title_of(INT8)}" in text
    assert f"c1, {title_of(EXACT)}" not in text


def test_a_row_of_few_bits_has_no_exact_file_of_another_runtime_either(tmp_path: Path) -> None:
    board = plain({})
    bits = with_file(with_bits(quality_of(entry_of(board, "c0")), "in words"), INT8)
    entry = replace(entry_of(board, "c0"), quality=replace(bits, map50_95=0.45, bits_mean=5.0))
    row = rows_of(Leaderboard([board.parent, entry], {}), tmp_path / "leaderboard.csv")["c0"]
    assert list(row) == [*COLUMNS, *MORE[4:]]
    int8 = file_of(bits, Precision.INT8)
    for prefix in ("", "int8_"):
        assert float(row[f"{prefix}size_mb"]) == pytest.approx(int8.size_mb, rel=1e-5)
        assert float(row[f"{prefix}latency_ms"]) == pytest.approx(int8.latency_ms, rel=1e-5)
        assert float(row[f"{prefix}latency_p95_ms"]) == pytest.approx(int8.latency_p95_ms, rel=1e-5)
    assert float(row["map50_95"]) == 0.45
    assert float(row["int8_map50_95"]) == pytest.approx(int8.map50_95, rel=1e-5)
    assert row["meets_as"] == "int8"
    assert float(row["openvino_int8_latency_ms"]) == 12.125
