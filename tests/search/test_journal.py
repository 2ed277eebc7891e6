import json
import math
import os
import resource
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evaluators.result import Result, Status
from search.journal import Journal
from search.replay import line_of
from spaces.candidate import Candidate
from spaces.errors import BadInput

HEADER = {"seed": 0, "weights": "a.pt", "limits": {"macs_g": 1.5}}


def result(number: int) -> Result:
    candidate = Candidate("same", (("model.0", 8 + number), ("model.1", 16)))
    return Result(number, candidate, Status.DONE, {"loss": number / 3}, 0.25)


def written(path: Path, n: int = 20) -> bytes:
    with Journal(path, HEADER) as journal:
        for number in range(n):
            journal.append_result(result(number))
    return path.read_bytes()


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return written(tmp_path_factory.mktemp("whole") / "j.jsonl")


def test_reopening_gives_everything_back(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    written(path, 3)
    with Journal(path, HEADER) as journal:
        journal.append("entry", {"id": "abc", "quality": None})
    for replay in (Journal.read(path), Journal(path, HEADER)):
        assert replay.results == {number: result(number) for number in range(3)}
        assert replay.records("entry") == [{"id": "abc", "quality": None}]
        assert replay.header == HEADER and replay.damaged == ()


def test_every_line_is_json(whole: bytes) -> None:
    kinds = [json.loads(line)["kind"] for line in whole.splitlines()]
    assert kinds == ["header"] + ["result"] * 20


def test_cut_at_every_byte_loses_at_most_the_last_line(tmp_path: Path, whole: bytes) -> None:
    path = tmp_path / "cut.jsonl"
    path.write_bytes(whole)
    for size in reversed(range(len(whole))):
        os.truncate(path, size)
        n_lines = whole[:size].count(b"\n")
        if n_lines == 0:
            with pytest.raises(BadInput, match="not a journal"):
                Journal.read(path)
            continue
        replay = Journal.read(path)
        assert list(replay.results) == list(range(n_lines - 1)) and replay.damaged == ()


@given(data=st.data())
@settings(max_examples=40, deadline=None)
def test_cut_journal_goes_on(data: st.DataObject, whole: bytes, tmp_path_factory: pytest.TempPathFactory) -> None:
    size = data.draw(st.integers(whole.index(b"\n") + 1, len(whole)))
    path = tmp_path_factory.mktemp("cut") / "j.jsonl"
    path.write_bytes(whole[:size])
    with Journal(path, HEADER) as journal:
        for number in range(20):
            journal.append_result(result(number))
    assert path.read_bytes() == whole


@given(data=st.data())
@settings(max_examples=150, deadline=None)
def test_flipped_bytes_are_noticed(data: st.DataObject, whole: bytes, tmp_path_factory: pytest.TempPathFactory) -> None:
    places = data.draw(st.sets(st.integers(0, len(whole) - 1), min_size=1, max_size=4))
    flipped = bytearray(whole)
    for place in places:
        flipped[place] ^= data.draw(st.integers(1, 255))
    path = tmp_path_factory.mktemp("flip") / "j.jsonl"
    path.write_bytes(flipped)
    if min(places) <= whole.index(b"\n"):
        with pytest.raises(BadInput):
            Journal(path, HEADER)
        assert path.read_bytes() == flipped
        return
    with Journal(path, HEADER) as journal:
        touched = {whole[:place].count(b"\n") - 1 for place in places}
        for number in range(20):
            assert number not in journal.results or journal.results[number] == result(number)
            assert number in journal.results or touched & {number, number - 1, number + 1}
        assert journal.damaged or flipped[-1:] != b"\n"
    assert Journal.read(path).damaged == ()


def test_damaged_line_is_set_aside(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    lines = written(path, 4).splitlines(keepends=True)
    path.write_bytes(b"".join([*lines[:2], b"garbage\n", *lines[3:]]))
    assert Journal.read(path).damaged == (3,)
    with Journal(path, HEADER) as journal:
        assert journal.damaged == (3,) and sorted(journal.results) == [0, 2, 3]
    assert (tmp_path / "journal.jsonl.bad").read_bytes() == b"garbage\n"
    assert path.read_bytes() == b"".join([*lines[:2], *lines[3:]])


@pytest.mark.parametrize("content", [b"", b"\n", b"hello\n", b'{"kind":"header","format":1}\n', b"\xef\xbb\xbf{}\n"])
def test_file_that_is_not_ours_is_refused_and_left_alone(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "journal.jsonl"
    path.write_bytes(content)
    with pytest.raises(BadInput, match=r"journal\.jsonl: not a journal"):
        Journal(path, HEADER)
    assert path.read_bytes() == content


def test_other_format_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "journal.jsonl"
    monkeypatch.setattr("search.journal.FORMAT", 2)
    monkeypatch.setattr("search.replay.FORMAT", 2)
    written(path, 1)
    monkeypatch.undo()
    with pytest.raises(BadInput, match="format 2, this version reads format 1"):
        Journal(path, HEADER)


def test_other_recipe_is_refused_by_its_keys(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    written(path, 1)
    with pytest.raises(BadInput, match=r"another recipe: seed 0 there, 1 asked, weights 'a.pt' there, None asked"):
        Journal(path, {"seed": 1, "limits": {"macs_g": 1.5}})


def test_missing_file_has_nothing_to_report(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="No such file"):
        Journal.read(tmp_path / "journal.jsonl")


def test_second_writer_is_refused_with_the_first_ones_pid(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    with Journal(path, HEADER) as first:
        with pytest.raises(BadInput, match=f"process {os.getpid()}$"):
            Journal(path, HEADER)
        first.append_result(result(0))
    with Journal(path, HEADER) as second:
        assert list(second.results) == [0]


def test_result_is_written_once(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    with Journal(path, HEADER) as journal:
        journal.append_result(result(0))
        journal.append_result(result(0))
        with pytest.raises(ValueError, match="number 0 must be"):
            journal.append_result(Result(0, result(1).candidate, Status.DONE, {}, 0.0))
    assert len(path.read_bytes().splitlines()) == 2


def test_nan_is_not_written(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    with Journal(path, HEADER) as journal, pytest.raises(ValueError, match="JSON"):
        journal.append("entry", {"map": math.nan})
    assert Journal.read(path).records("entry") == []


def test_full_disk_keeps_every_line_that_was_written(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    size = len(written(path, 5))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    with Journal(path, HEADER) as journal:
        for allowed in (size + 40, size):  # a short write, then none at all
            resource.setrlimit(resource.RLIMIT_FSIZE, (allowed, hard))
            try:
                with pytest.raises(OSError, match=r"kept.*journal\.jsonl"):
                    journal.append_result(result(5))
            finally:
                resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
            assert path.stat().st_size == size and 5 not in journal.results
        journal.append_result(result(5))
    assert sorted(Journal.read(path).results) == list(range(6))


def test_search_brings_in_neither_torch_nor_ray() -> None:
    names = ("loop", "strategy", "journal", "pareto", "strategies.random_search", "strategies.evolution", "executor")
    imports = ", ".join(["search", *(f"search.{name}" for name in names)])
    code = f"import sys, {imports}; assert not {{'torch', 'ray', 'pandas', 'rich'}} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[2])


def test_numpy_numbers_are_refused_not_rounded(tmp_path: Path) -> None:
    with Journal(tmp_path / "j.jsonl", HEADER) as journal, pytest.raises(TypeError, match="serializable"):
        journal.append("entry", {"map": np.float32(0.5)})


@pytest.mark.parametrize(("mark", "end"), [(b"\xef\xbb\xbf", b"\n"), (b"", b"\r\n"), (b"\xef\xbb\xbf", b"\r\n")])
def test_an_editors_mark_and_line_ends_are_read_and_put_right(tmp_path: Path, mark: bytes, end: bytes) -> None:
    path = tmp_path / "journal.jsonl"
    whole = written(path, 3)
    path.write_bytes(mark + whole.replace(b"\n", end))
    assert sorted(Journal.read(path).results) == [0, 1, 2]
    with Journal(path, HEADER) as journal:
        assert journal.damaged == ()
        journal.append_result(result(3))
    assert path.read_bytes().startswith(whole)
    assert sorted(Journal.read(path).results) == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("change", "part"),
    [({"mood": 1}, "a result has no key 'mood'"), ({"status": "DREAMT"}, "not a result"), ({"number": "1"}, "not a")],
)
def test_a_whole_line_of_another_version_is_named_and_the_file_left_alone(
    tmp_path: Path, change: dict[str, object], part: str
) -> None:
    path = tmp_path / "journal.jsonl"
    written(path, 2)
    line = line_of({"kind": "result", **result(2).to_json(), **change})
    with path.open("ab") as file:
        file.write(line)
    before = path.read_bytes()
    for opened in (Journal.read, lambda path: Journal(path, HEADER)):
        with pytest.raises(BadInput, match=f"journal.jsonl:4: the line is whole, and not of this version: {part}"):
            opened(path)
    assert path.read_bytes() == before
    assert not (tmp_path / "journal.jsonl.bad").exists()


def test_a_lock_of_foreign_bytes_is_still_a_lock(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    with Journal(path, HEADER):
        (tmp_path / "journal.jsonl.lock").write_bytes(b"\xff\xfe")
        with pytest.raises(BadInput, match="another run is writing here"):
            Journal(path, HEADER)
