"""Run folders with a file damaged, foreign or gone: the verbs that read them say so in one line, or make it again."""

import contextlib
import io
import json
import os
import shutil
import subprocess
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

import run_search
from leaderboards.run_path import JOURNAL
from search.replay import line_of
from tests.leaderboards.reports.across.test_board import write_run

Damage = Callable[[Path, np.random.Generator], object]
VERBS = ("select {run}", "export {run} id=a", "report {run}", "report {run} {other} out={out}")
WRITTEN = ("leaderboard.csv", "leaderboard.md", "report.html", "models/a/card.md")
FILES = (JOURNAL, "recipe.yaml", "models/a/detections.npz", "models", *WRITTEN)


def cut(path: Path, rng: np.random.Generator) -> None:
    os.truncate(path, int(rng.integers(1, path.stat().st_size)))


def flip(path: Path, rng: np.random.Generator) -> None:
    content = bytearray(path.read_bytes())
    for place in rng.integers(0, len(content), 3):
        content[place] ^= int(rng.integers(1, 256))
    path.write_bytes(content)


def in_its_place(path: Path, _: np.random.Generator) -> None:
    path.unlink()
    (path / "inside").mkdir(parents=True)


def in_a_circle(path: Path, _: np.random.Generator) -> None:
    path.unlink()
    path.symlink_to(path.name)


DAMAGES: dict[str, Damage] = {
    "empty": lambda path, _: path.write_bytes(b""),
    "gone": lambda path, _: path.unlink(),
    "cut": cut,
    "cut again": cut,
    "flipped": flip,
    "flipped again": flip,
    "bytes": lambda path, rng: path.write_bytes(rng.bytes(3000)),
    "text": lambda path, _: path.write_text("dear diary\n", encoding="utf-8"),
    "utf-16": lambda path, _: path.write_bytes("imgsz: 320\n".encode("utf-16")),
    "an object": lambda path, _: path.write_text('{"a": [1, {"b": null}]}', encoding="utf-8"),
    "a list": lambda path, _: path.write_text("[1, 2, 3]\n", encoding="utf-8"),
    "deep": lambda path, _: path.write_text("[" * 100_000, encoding="utf-8"),
    "a folder": in_its_place,
    "a circle": in_a_circle,
}


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Return a finished run with every file that the verbs read or write, and another one beside it."""
    folder = tmp_path_factory.mktemp("runs")
    whole = write_run(folder / "whole", {"a": (45, 0.6), "b": (20, 0.3)}, strategy="random", seed=0)
    other = write_run(folder / "other", {"c": (44, 0.5)}, strategy="random", seed=1)
    for name in ("model.onnx", "model.pt"):
        (whole / "models" / "a" / name).write_bytes(b"a network")
    assert ended(f"report {whole}") == (0, "")
    return whole, other


def ended(line: str) -> tuple[int, str]:
    """Return the exit code of a command and what it said on stderr."""
    told = io.StringIO()
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(told):
        code = run_search.main(line.split())
    return code, told.getvalue()


def check_verbs(run: Path, other: Path, what: str) -> list[int]:
    """Return the exit codes of all verbs on `run`, each of which was fit for the eyes of a user."""
    codes = []
    for verb in VERBS:
        code, told = ended(verb.format(run=run, other=other, out=run.parent / "joint"))
        assert code in (0, 2, 4), f"{what}: {verb}: {told}"
        assert told.count("\n") == (code > 0), f"{what}: {verb}: {told}"
        codes.append(code)
    return codes


@pytest.mark.parametrize("file", FILES)
def test_every_damaged_file_is_named_or_made_again(file: str, runs: tuple[Path, Path], tmp_path: Path) -> None:
    whole, other = runs
    codes = {}
    few = ("gone", "cut", "a folder", "a circle")  # of what is written anew and never read
    told = {name: DAMAGES[name] for name in (few if file in WRITTEN else DAMAGES)}
    for number, (name, damage) in enumerate(told.items()):
        run = tmp_path / str(number) / "run"
        shutil.copytree(whole, run)
        if (run / file).is_dir():
            shutil.rmtree(run / file)
            (run / file).write_text("no folder", encoding="utf-8")
        damage(run / file, np.random.default_rng(number))
        codes[name] = check_verbs(run, other, f"{file} {name}")
    survived = {name for name, each in codes.items() if 2 not in each}
    if file in (JOURNAL, "recipe.yaml"):
        assert survived <= {"cut", "cut again", "flipped", "flipped again", "an object"}
    if file in WRITTEN:
        assert codes["cut"][2] == codes["gone"][2] == 0  # made again


def mutated(record: dict[str, object]) -> Iterator[tuple[str, dict[str, object]]]:
    """Yield what `record` might be in another version: with another key, without one, or with another value."""
    yield "kind", {**record, "kind": "dream"}
    yield "more", {**record, "mood": 1}
    for key, value in record.items():
        if key != "kind":
            yield f"no {key}", {name: record[name] for name in record if name != key}
            for foreign in (None, "x", -1, [], {}, [[1]], {"a": {"b": 1}}, True, 1e300):
                if foreign != value:
                    yield f"{key} {foreign!r}", {**record, key: foreign}
        if isinstance(value, dict):
            for what, inner in mutated({"kind": "", **value}):
                if what != "kind":
                    yield f"{key}.{what}", {**record, key: {name: inner[name] for name in inner if name != "kind"}}


@pytest.mark.parametrize("kind", ["space", "result", "entry", "clock", "base", "halving", "fidelity", "header"])
def test_a_line_that_is_whole_and_of_another_version_is_named_with_its_number(
    kind: str, runs: tuple[Path, Path], tmp_path: Path
) -> None:
    whole, other = runs
    lines = (whole / JOURNAL).read_bytes().splitlines(keepends=True)
    records = [{key: value for key, value in json.loads(line).items() if key != "crc32"} for line in lines]
    more: list[dict[str, object]] = [
        {"kind": "clock", "number": 0, "seconds": 1.5},
        {"kind": "base", "name": "ghostnet", "blocks": [["1", 8]]},
        {"kind": "halving", "rung": 0, "rows": {"a": {"map50_95": 0.5, "seconds": 1.0}}, "failed": {}, "go_on": ["a"]},
        {**next(record for record in records if record["kind"] == "result"), "kind": "fidelity"},
    ]
    records += more
    run = tmp_path / "run"
    shutil.copytree(whole, run)
    (run / JOURNAL).write_bytes(b"".join(map(line_of, records)))
    assert check_verbs(run, other, "before")[0] == 0
    number = next(place for place, record in enumerate(records) if record["kind"] == kind)
    n_named = 0
    for place, (what, record) in enumerate(mutated(records[number])):
        changed = [*records[:number], record, *records[number + 1 :]]
        (run / JOURNAL).write_bytes(b"".join(map(line_of, changed)))
        code, told = ended(f"select {run}")
        assert code in (0, 2, 4), f"{what}: {told}"
        if code == 2:
            n_named += f"{run / JOURNAL}:{number + 1}: the line is whole, and not of this version: " in told
        elif place % 7 == 0:  # a report takes half a second
            check_verbs(run, other, what)
    assert n_named >= (0 if kind == "header" else 15)


def test_the_text_of_a_line_with_a_good_checksum_may_be_no_record(runs: tuple[Path, Path], tmp_path: Path) -> None:
    whole, _ = runs
    shutil.copytree(whole, tmp_path / "run")
    path = tmp_path / "run" / JOURNAL
    content = path.read_bytes()
    for text in (b'{"kind":"result"', b'{"kind":NaN}', b'{"kind":["a"]}', b"{}", b'{"a":1}', b'{"kind":"x","a":1e999}',
                 b'{"kind":' + b"[" * 100_000, b'{"kind":"\xff"}'):  # fmt: skip
        path.write_bytes(content + b'{"crc32":"%08x",%b\n' % (zlib.crc32(text), text[1:]))
        code, told = ended(f"report {tmp_path / 'run'}")
        assert code == 2
        assert told.startswith(f"{path}:{content.count(10) + 1}: the line is whole"), text[:40]


def test_an_editors_mark_and_line_ends_change_nothing(runs: tuple[Path, Path], tmp_path: Path) -> None:
    whole, _ = runs
    run = tmp_path / "run"
    shutil.copytree(whole, run)
    for name in (JOURNAL, "recipe.yaml"):
        content = (run / name).read_bytes()
        (run / name).write_bytes(b"\xef\xbb\xbf" + content.replace(b"\n", b"\r\n"))
    assert ended(f"report {run}") == (0, "")
    assert (run / "report.html").read_bytes() == (whole / "report.html").read_bytes()


def test_damaged_lines_are_named_in_the_report_by_their_numbers(runs: tuple[Path, Path], tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(runs[0], run)
    lines = (run / JOURNAL).read_bytes().splitlines(keepends=True)
    (run / JOURNAL).write_bytes(b"".join([*lines[:2], b"garbage\n", *lines[3:]]))
    assert ended(f"report {run}") == (0, "")
    assert "Damaged in the journal and set aside: line 3." in (run / "report.html").read_text(encoding="utf-8")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Yield a disk of 256 KiB of its own."""
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "none", str(disk)], check=False).returncode:
        pytest.skip("nothing may be mounted here")
    yield disk
    subprocess.run(["umount", "-l", str(disk)], check=True)


def test_a_disk_that_fills_is_said_and_what_was_there_stays_until_there_is_room(
    runs: tuple[Path, Path], small_disk: Path
) -> None:
    whole, _ = runs
    run = small_disk / "run"
    run.mkdir()
    for name in (JOURNAL, "recipe.yaml"):
        shutil.copy(whole / name, run / name)
    (run / "report.html").write_text("the old one", encoding="utf-8")
    code, told = ended(f"report {run}")
    assert code == 75
    assert told.startswith(f"disk full: '{run / 'report.html'}': No space left on device; make room: ")
    assert (run / "report.html").read_text(encoding="utf-8") == "the old one"
    assert not [path for path in run.iterdir() if "partial" in path.name]
    subprocess.run(["mount", "-o", "remount,size=64m", str(small_disk)], check=True)
    assert ended(f"report {run}") == (0, "")
    assert len((run / "report.html").read_bytes()) > 100_000
