import csv
import dataclasses
from pathlib import Path

import numpy as np
import pytest
import yaml

import run_search
from evaluators.accuracy.average_precision import Tally
from evaluators.accuracy.resampled_map import save_tally
from evaluators.result import Result, Status
from leaderboards.entry import PARENT, Entry
from leaderboards.recipes.recipe import Recipe
from leaderboards.reports.across.across_report import headline, markdown, publish_across, report
from leaderboards.reports.across.board import default_folder, read_across
from leaderboards.reports.across.past_run import boxes_of, read_past_run
from leaderboards.run_folder import TALLY
from leaderboards.run_records import SPACE
from search.journal import Journal
from spaces.candidate import Candidate
from tests.leaderboards.reports.test_report import Page
from tests.leaderboards.synthetic import HOSTILE, make_entry, make_quality, with_file

N_IMAGES = 60
HEADER = {"data": "d", "imgsz": 320, "weights": "w"}


def tally_of(n_found: int) -> Tally:
    """Return what a detector found that finds the one box in each of the first images."""
    is_right = np.ones((n_found, 10), bool)
    return Tally(np.arange(n_found), np.zeros(n_found, int), is_right, np.ones((N_IMAGES, 1), int))


def entry(name: str, n_found: int, *, share: float, epochs: int = 3) -> Entry:
    quality = make_quality(share=share)
    exact = dataclasses.replace(quality.own, map50_95=n_found / N_IMAGES)
    quality = dataclasses.replace(with_file(quality, exact), map50_95=n_found / N_IMAGES)
    made = make_entry(name, quality, candidate=Candidate("same", (("2", len(name)),)), proxy=0.3)
    return dataclasses.replace(made, epochs=epochs)


def write_run(
    folder: Path, rows: dict[str, tuple[int, float]], *, header: dict[str, object] = HEADER, **settings: object
) -> Path:
    """Write a finished run whose rows find so many of the boxes for such a share of the MACs."""
    folder.mkdir(parents=True)
    recipe = Recipe.model_validate({"finetune_epochs": 3, "proxy": "map50_95", **settings})
    (folder / "recipe.yaml").write_text(yaml.safe_dump(recipe.model_dump(mode="json")), encoding="utf-8")
    with Journal(folder / "journal.jsonl", header) as journal:
        journal.append(SPACE, {"limits": {"macs_g": 2.0}, "parent": {"macs_g": 3.2}, "blocks": [], "notes": []})
        for number, (n_found, share) in enumerate(rows.values()):
            readings = {"map50_95": n_found / N_IMAGES / 2, "macs_g": 3.2 * share}
            journal.append_result(Result(number, Candidate("same", (("2", number),)), Status.DONE, readings, 1.5))
        entries = [
            entry(PARENT, 50, share=1.0),
            *(entry(name, n_found, share=share) for name, (n_found, share) in rows.items()),
        ]
        entries = [dataclasses.replace(entries[0], epochs=0), *entries[1:]]
        for each in (*entries, make_entry(HOSTILE, None, candidate=Candidate("same", ()), proxy=None)):
            journal.append("entry", each.to_json())
    for name, n_found in [(PARENT, 50), *((name, given[0]) for name, given in rows.items())]:
        (folder / "models" / name).mkdir(parents=True)
        save_tally(tally_of(n_found), folder / "models" / name / TALLY)
    return folder


@pytest.fixture
def runs(tmp_path: Path) -> list[Path]:
    """Return three finished runs: two seeds of random, and one of the default."""
    return [
        write_run(tmp_path / "one", {"a": (45, 0.6), "b": (20, 0.3)}, strategy="random", seed=0),
        write_run(tmp_path / "two", {"a": (44, 0.5)}, strategy="random", seed=1),
        write_run(tmp_path / "three", {"c": (46, 0.6)}, strategy="informed"),
    ]


def test_rows_of_all_runs_stand_together_with_ties_as_ties_and_the_parent_once(runs: list[Path]) -> None:
    standings = read_across(runs).standings
    told = [(s.run.name, s.entry.id, s.place.label if s.place else "") for s in standings]
    assert told[:5] == [("one", PARENT, ""), ("three", "c", "1="), ("one", "a", "1="), ("two", "a", "1="),
                        ("one", "b", "4")]  # fmt: skip
    assert [s.entry.id for s in standings[5:]] == [HOSTILE] * 3
    on_front = {(s.run.name, s.entry.id) for s in standings if s.is_on_front}
    assert on_front == {("one", PARENT), ("three", "c"), ("two", "a"), ("one", "b")}  # (one, a) has the cost of c


def test_what_was_written_can_be_read_and_runs_no_foreign_text(runs: list[Path], tmp_path: Path) -> None:
    across = read_across(runs)
    publish_across(across, tmp_path / "out")
    with (tmp_path / "out" / "leaderboard.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["id"] for row in rows[:2]] == [PARENT, "c"]
    assert float(rows[1]["map_low"]) < 46 / N_IMAGES < float(rows[1]["map_high"])
    assert rows[1]["epochs"] == "3"
    page = Page((tmp_path / "out" / "report.html").read_text(encoding="utf-8"))
    assert page.count("img") == 0
    assert page.count("script") == 4  # plotly, the rows, and the searches by evaluations and by seconds
    assert "The searches" in "".join(page.texts)
    assert report(across) == report(read_across(runs))
    assert HOSTILE not in markdown(across)
    lines = [line for line in markdown(across).splitlines() if line.startswith("|")]
    assert len({line.replace("\\|", "").count("|") for line in lines}) == 1
    assert headline(across) == "c of three has the highest mAP50-95, 0.767; the images cannot tell 2 more from it."


def test_runs_that_differ_in_their_seeds_alone_share_a_label(runs: list[Path], tmp_path: Path) -> None:
    other = write_run(tmp_path / "four", {"a": (40, 0.5)}, strategy="random", importance="l1")
    across = read_across([*runs, other])
    assert across.labels == {
        "one": "random, importance greedy", "two": "random, importance greedy",
        "three": "informed, importance greedy", "four": "random, importance l1",
    }  # fmt: skip
    ((task, by_label),) = across.tasks().items()
    assert task == ("map50_95", "macs_g <= 2")
    assert [run.name for run in by_label["random, importance greedy"]] == ["one", "two"]


def test_a_row_without_its_detections_still_stands(runs: list[Path]) -> None:
    (runs[2] / "models" / "c" / TALLY).write_bytes(b"broken")
    first = read_across(runs).standings[1]
    assert first.entry.id == "c"
    assert first.place is not None
    assert first.place.label == "1"  # by its mAP alone
    assert first.place.interval is None


@pytest.mark.parametrize(
    ("header", "told"),
    [({**HEADER, "data": "e"}, "different data sets"), ({**HEADER, "imgsz": 640}, "different image sizes")],
)
def test_runs_on_other_images_are_refused_in_one_line(
    header: dict[str, object], told: str, runs: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = write_run(tmp_path / "other", {"a": (40, 0.5)}, header=header)
    assert run_search.main(["report", str(runs[0]), str(other), f"out={tmp_path / 'out'}"]) == 2
    message = capsys.readouterr().err
    assert told in message
    assert message.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_report_of_several_runs_writes_them_together(
    runs: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert run_search.main(["report", *map(str, runs), f"out={out}"]) == 0
    assert {path.name for path in out.iterdir()} == {"leaderboard.csv", "leaderboard.md", "report.html"}
    text = capsys.readouterr().out
    assert "1=" in text
    assert max(map(len, text.splitlines()[:10])) <= 100


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["{0}", "{0}"], "occurs 2 times"),
        (["{0}", "{1}", "out={2}"], "is a run"),
        (["{0}", "{1}", "out=../x"], "out: must be a name"),
        (["{0}", "{1}", "limit=3"], "unknown key 'limit'"),
        (["{0}", "out=x"], "unknown key 'out'"),
        (["{0}", "{0}/nowhere"], "no journal"),
    ],
)
def test_what_cannot_be_compared_is_refused_in_one_line(
    words: list[str], told: str, runs: list[Path], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_search.main(["report", *(word.format(*runs) for word in words)]) == 2
    message = capsys.readouterr().err
    assert told in message
    assert message.count("\n") == 1


def test_a_long_comparison_has_a_short_name() -> None:
    assert default_folder([Path("runs/a"), Path("b")]) == "a-vs-b"
    name = default_folder([Path("x" * 60), *(Path(str(index)) for index in range(5))])
    assert name == "x" * 52 + "-vs-5-others"
    assert len(name) <= 64


def test_what_a_method_measures_beyond_the_limits_on_its_way_counts_as_an_evaluation_alone(tmp_path: Path) -> None:
    """The limit is 2 GMACs: a share of 0.7 of 3.2 is beyond it, so the first jump comes with the second evaluation."""
    run = read_past_run(write_run(tmp_path / "one", {"a": (59, 0.7), "b": (30, 0.5)}))
    assert len(run.points()) == 1
    curve = run.by_evaluations(boxes_of([run])["one"])
    assert list(zip(curve.x, curve.y, strict=True)) == [(0, 0), (2, pytest.approx(1)), (2, pytest.approx(1))]
    assert run.by_seconds(boxes_of([run])["one"]).x.tolist() == [0, 3, 3]  # 1.5 s each, by no clock
