import json
from dataclasses import replace

import pytest
from rich.console import Console

import run_search
from leaderboards.benchmarks.by_name import BENCHMARKS
from leaderboards.benchmarks.record import Cell, Record
from leaderboards.benchmarks.running import run, write_terminal
from spaces.errors import BadInput

RECORD = Record(
    name="toy",
    metric="largest error",
    value=0.25,
    target="at most 0.5",
    holds=True,
    rows=[{"network": "yolov5n", "error": 0.25}, {"network": "yolov8n", "error": 0.125}],
    environment={"python": "3.11"},
    command="python run_search.py bench toy --json",
)


@pytest.mark.parametrize("words", [[], ["cuting"]])
def test_no_or_an_unknown_name_lists_them_all(words: list[str]) -> None:
    with pytest.raises(BadInput, match=f"name one benchmark of: {', '.join(BENCHMARKS)}"):
        run(words)


def test_a_key_that_the_benchmark_does_not_have_is_refused() -> None:
    with pytest.raises(BadInput, match="unknown key 'cutting'; there are no keys here"):
        run(["difficulty", "cutting"])

    with pytest.raises(BadInput, match="networks must be some of yolov3-tiny"):
        run(["cutting", "networks=yolov4"])


def test_a_near_miss_is_named() -> None:
    with pytest.raises(BadInput, match="did you mean 'cutting'"):
        run(["cuting"])


def test_bench_alone_lists_them_in_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_search.main(["bench"]) == 2
    message = capsys.readouterr().err
    assert message.count("\n") == 1
    assert all(name in message for name in BENCHMARKS)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("proxies n=abc", "n must be a number from 4 to 100000, got 'abc'"),
        ("proxies n=3", "n must be a number from 4"),
        ("proxies n=4.5", "n must be a whole number"),
        ("proxies budgets=x", "budgets must be a number from 1"),
        ("proxies budgets=50,101", "budgets must be different percentages"),
        ("proxies budgets=50,50", "budgets must be different percentages"),
        ("proxies repeats=-1", "repeats must be a number from 0"),
        ("proxies workers=0", "workers: "),
        ("proxies epochs=inf", "finetune_epochs: "),
        ("proxies data=nonsense", "data='nonsense' must be digits"),
        ("reconstruction seeds=nan", "seeds must be a number from 1"),
        ("reconstruction searched=0", "searched must be a number from 1"),
        ("reconstruction random=1e9", "random must be a number from 1"),
        ("reconstruction tuned_seeds=-1", "tuned_seeds must be a number from 0"),
        ("reconstruction data=nonsense", "data='nonsense' must be digits"),
        ("calibration data=nonsense", "data='nonsense' must be digits"),
        ("evaluation candidates=", "'candidates=' must be key=value"),
        ("evaluation candidates=0", "candidates must be a number from 1"),
        ("evaluation calibration=33", "calibration must be a multiple of 32"),
        ("evaluation ranked=many", "ranked must be a number from 0"),
        ("evaluation fidelity=nonsense", "fidelity='nonsense' must be digits"),
    ],
)
def test_what_cannot_be_asked_is_refused_in_one_line(words: str, told: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_search.main(["bench", *words.split()]) == 2
    message = capsys.readouterr().err
    assert told in message
    assert message.count("\n") == 1


def test_a_records_json_has_the_promised_fields() -> None:
    record = json.loads(json.dumps(RECORD.to_json(), allow_nan=False))
    assert {"name", "metric", "value", "target", "holds", "rows", "environment", "command"} == set(record)
    assert record["rows"] == RECORD.rows


@pytest.mark.parametrize(("holds", "word"), [(True, "holds"), (False, "MISSED")])
def test_a_reader_sees_the_rows_the_figure_and_whether_it_holds(holds: bool, word: str) -> None:
    console = Console(width=120)
    with console.capture() as capture:
        write_terminal(replace(RECORD, holds=holds), console)
    text = capture.get()
    assert "yolov8n" in text
    assert f"largest error: 0.25; target at most 0.5: {word}" in text


def test_a_table_too_wide_for_the_console_has_a_line_of_words_for_each_row() -> None:
    console = Console(width=60)
    rows = [{f"column_{index}": 1.0 / (row + 3) for index in range(12)} for row in range(2)]
    with console.capture() as capture:
        write_terminal(replace(RECORD, rows=rows), console)
    lines = capture.get().splitlines()
    assert lines[0].startswith("column_0 0.3333  column_1 0.3333")
    assert lines[0].endswith("column_11 0.3333")
    assert lines[1].startswith("column_0 0.25")


def test_rows_of_different_keys_stand_under_their_own_headings_and_brackets_are_told() -> None:
    console = Console(width=120)
    rows: list[dict[str, Cell]] = [{"network": "a", "error": 1.0}, {"error": 2.0, "why": "[bold] is no markup"}]
    with console.capture() as capture:
        write_terminal(replace(RECORD, rows=rows), console)
    heading, _, first, second, *_ = capture.get().splitlines()[2:]
    assert heading.split() == ["┃", "network", "┃", "error", "┃", "why", "┃"]
    assert first.split() == ["│", "a", "│", "1", "│", "│"]
    assert second.split() == ["│", "│", "2", "│", "[bold]", "is", "no", "markup", "│"]


def test_a_record_without_rows_has_its_figure() -> None:
    console = Console(width=120)
    with console.capture() as capture:
        write_terminal(replace(RECORD, rows=[]), console)
    assert "largest error: 0.25" in capture.get()
