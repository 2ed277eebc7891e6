"""The command line as a user meets it, on a data set and a detector made in the test."""

import csv
import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

import run_search
from spaces.candidate import Candidate
from spaces.detectors.detector import load_detector, save_detector
from tests.evaluators.tiny import write_dataset
from tests.spaces.untrained import detector

ROOT = Path(__file__).resolve().parents[1]
SMALL = ["imgsz=64", "candidates=4", "front=1", "finetune_epochs=1", "search_images=2", "calibration_images=4"]


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Yield a folder with `weights/` (two classes) and `data/data.yaml`."""
    folder = tmp_path_factory.mktemp("inputs")
    model = detector("yolov8n", n_classes=2)
    names = model.names
    model.names = {0: "cat", 1: "dog"}
    save_detector(model, folder / "weights", candidate=Candidate("same", ()))
    model.names = names
    write_dataset(folder / "data", n_train=12, n_val=4)
    yield folder


def words(inputs: Path, out: Path, *more: str) -> list[str]:
    return [f"weights={inputs / 'weights'}", f"data={inputs / 'data' / 'data.yaml'}", f"out={out}", *SMALL, *more]


@pytest.fixture(scope="module")
def finished(inputs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a finished run."""
    out = tmp_path_factory.mktemp("runs") / "first"
    assert run_search.main(words(inputs, out, "gflops=60%", "workers=1")) == 0
    return out


@pytest.mark.ray
def test_a_run_leaves_every_file_it_promises(finished: Path) -> None:
    files = {path.name for path in finished.iterdir()}
    assert {"recipe.yaml", "journal.jsonl", "leaderboard.csv", "leaderboard.md", "report.html"} <= files
    with (finished / "leaderboard.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["strategy"] for row in rows if row["id"].startswith("parent")] == ["parent", "reference"]
    assert rows[0]["id"] == "parent"
    assert len(rows) == 3
    assert all(float(row["gflops"]) <= 0.6 * float(rows[0]["gflops"]) for row in rows[1:])
    for row in rows:
        assert row["status"] == "DONE"
        assert float(row["onnx_error"]) <= 1e-4
        files = {path.name for path in (finished / "models" / row["id"]).iterdir()}
        promised = "model.safetensors architecture.json model.pt model.onnx model_int8.onnx card.md"
        assert set(promised.split()) <= files
    (row,) = [row for row in rows if not row["id"].startswith("parent")]
    loaded, architecture = load_detector(finished / "models" / row["id"])
    assert architecture.candidate.id == row["id"]
    assert sum(p.numel() for p in loaded.parameters()) / 1e6 == pytest.approx(float(row["params_m"]), rel=1e-5)


@pytest.mark.ray
def test_running_it_again_measures_nothing_again(finished: Path, inputs: Path) -> None:
    before = (finished / "journal.jsonl").read_bytes()
    assert run_search.main(words(inputs, finished, "gflops=60%", "workers=1")) == 0
    assert (finished / "journal.jsonl").read_bytes() == before


@pytest.mark.ray
def test_another_recipe_in_the_same_folder_is_refused(
    finished: Path, inputs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_search.main(words(inputs, finished, "gflops=50%", "workers=1")) == 2
    assert "gflops" in capsys.readouterr().err


@pytest.mark.ray
def test_select_names_a_file_or_the_nearest_miss(finished: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_search.main(["select", str(finished), "gflops=60%", "--json"]) == 0
    choice = json.loads(capsys.readouterr().out)
    assert Path(choice["file"]).is_file()
    assert run_search.main(["select", str(finished), "gflops=1%"]) == 4
    assert "nearest" in capsys.readouterr().err


@pytest.mark.ray
def test_report_is_made_again_from_the_journal_alone(finished: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    copy.mkdir()
    for name in ("journal.jsonl", "recipe.yaml"):
        shutil.copy(finished / name, copy / name)
    assert run_search.main(["report", str(copy)]) == 0
    assert (copy / "leaderboard.csv").read_text() == (finished / "leaderboard.csv").read_text()


@pytest.mark.ray
def test_export_gives_the_file_or_says_what_is_allowed(finished: Path, capsys: pytest.CaptureFixture[str]) -> None:
    row = next(path.name for path in (finished / "models").iterdir() if path.name != "parent")
    assert run_search.main(["export", str(finished), f"id={row}", "format=onnx"]) == 0
    assert capsys.readouterr().out.strip().endswith("model.onnx")
    assert run_search.main(["export", str(finished), f"id={row}x"]) == 2
    assert f"did you mean '{row}'" in capsys.readouterr().err
    assert run_search.main(["export", str(finished), f"id={row}", "format=onyx"]) == 2


def test_profile_says_what_is_in_reach(inputs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_search.main(["profile", *words(inputs, tmp_path / "none"), "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["reach"]["macs_g"][0] < facts["parent"]["macs_g"] == facts["reach"]["macs_g"][1]
    assert "22.dfl" in facts["kept_whole"]
    assert not (tmp_path / "none").exists()


def test_a_budget_out_of_reach_is_exit_3_with_the_interval(
    inputs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_search.main(words(inputs, tmp_path / "none", "gflops=0.1%")) == 3
    assert "of the parent) to" in capsys.readouterr().err
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize(
    ("change", "part"),
    [
        ({"nc": 3}, "nc"),
        ({"names": ["cat", "dog", "cow"]}, "2 classes"),
        ({"names": ["cat", "cow"]}, "'dog'"),
        ({"val": "images/train"}, "images that are in val too"),
        ({"train": "images/nowhere"}, "nowhere"),
        ({"val": None}, "val"),
    ],
)
def test_bad_data_is_one_line_and_exit_2_and_nothing_is_written(
    change: dict[str, object], part: str, inputs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    content = yaml.safe_load((inputs / "data" / "data.yaml").read_text(encoding="utf-8"))
    changed = {key: value for key, value in {**content, **change}.items() if value is not None}
    description = inputs / "data" / "changed.yaml"
    description.write_text(yaml.safe_dump(changed), encoding="utf-8")
    out = tmp_path / "none"
    given = [f"weights={inputs / 'weights'}", f"data={description}", f"out={out}", *SMALL]
    assert run_search.main(given) == 2
    message = capsys.readouterr().err
    assert part in message
    assert message.count("\n") == 1
    assert not out.exists()


def test_a_folder_that_is_no_run_is_refused(inputs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter.txt").write_text("dear", encoding="utf-8")
    assert run_search.main(words(inputs, tmp_path / "mine", "gflops=60%")) == 2
    assert "holds no run" in capsys.readouterr().err
    assert run_search.main(["report", str(tmp_path / "mine")]) == 2


@pytest.mark.slow
@pytest.mark.ray
def test_a_run_whose_disk_fills_says_so_and_goes_on_where_there_is_room(
    inputs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=40k", "none", str(disk)], check=False).returncode:
        pytest.skip("nothing may be mounted here")
    try:
        run = words(inputs, disk / "run", "gflops=60%", "workers=1", "image_sizes=none")
        for size in ("32m", "400m"):  # the study does not fit, and then the files of the rows do not
            assert run_search.main(run) == 75
            told = capsys.readouterr().err
            assert told.startswith("disk full: ")
            assert str(disk) in told
            assert told.endswith("what is finished is kept; run it again to go on\n")
            assert told.count("\n") == 1
            assert not list(disk.rglob("*.partial"))
            before = (disk / "run" / "journal.jsonl").read_bytes()
            subprocess.run(["mount", "-o", f"remount,size={size}", str(disk)], check=True)
        assert run_search.main(run) == 0
        assert (disk / "run" / "journal.jsonl").read_bytes().startswith(before)
        assert run_search.main(["report", str(disk / "run")]) == 0
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=True)


HEAVY = ("torch", "ultralytics", "ray", "onnxruntime", "timm", "pandas", "cv2", "optuna", "plotly")


@pytest.mark.parametrize(
    ("line", "code", "said"),
    [
        ("--help", 0, "run_search.py profile key=value"),
        ("search --help", 0, "epoch_budget=none"),
        ("profile --help", 0, "A data yaml in the Ultralytics layout;"),
        ("select --help", 0, "latency_ms="),
        ("report --help", 0, "out=NAME"),
        ("export --help", 0, "format=onnx"),
        ("bench --help", 0, "reconstruction"),
        ("bench latency --help", 0, "minutes=20"),
        ("gflop=50%", 2, "did you mean 'gflops'?"),
        ("imgsz=100", 2, "multiple of 32"),
        ("strategy=genius", 2, "strategy: must be one of informed"),
        ("backbones=ghostnett", 2, "did you mean 'ghostnet'?"),
        ("proxy=map_genius", 2, "proxy: must be one of"),
        ("runtimes=abacus", 2, "runtimes: must be some of onnxruntime"),
        ("track=diary", 2, "track: must be some of mlflow"),
        ("strategy=unstructured gflops=50%", 2, "cannot serve gflops"),
        ("purse=8 epoch_budget=8", 2, "given twice"),
        ("weights=nowhere.pt data=data.yaml", 2, "'nowhere.pt' not found"),
        ("config=nowhere.yaml", 2, "'nowhere.yaml' not found"),
        ("profile device_file=nowhere.json", 2, "'nowhere.json' not found"),
        ("backbones=ghostnet backbone_weights=ghostnet:nowhere.pth", 2, "'nowhere.pth' not found"),
        ("select nowhere gflops=1", 2, "nowhere"),
        ("report nowhere", 2, "nowhere"),
        ("report", 2, "name the run"),
        ("export nowhere id=a", 2, "nowhere"),
        ("bench genius", 2, "name one benchmark of"),
        ("bench methods budget=60", 2, "did you mean 'budgets'?"),
    ],
)
def test_the_door_answers_without_anything_heavy(line: str, code: int, said: str) -> None:
    script = (
        "import sys, run_search; code = run_search.main(sys.argv[1:]); "
        f"loaded = [name for name in {HEAVY} if name in sys.modules]; "
        "sys.stderr.write(str(loaded)) if loaded else None; sys.exit(99 if loaded else code)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, *line.split()], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == code, done.stderr
    assert said in (done.stderr if code else done.stdout)
    assert not code or done.stderr.count("\n") == 1


def test_the_command_line_file_stays_short() -> None:
    assert len(Path(run_search.__file__).read_text(encoding="utf-8").splitlines()) <= 150
