"""Every way out of the program: one line and a code, whatever goes wrong below it."""

import errno
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

import run_search
from leaderboards.verbs.by_name import VERBS
from leaderboards.verbs.ending import FILE
from search.journal import Journal

ROOT = Path(__file__).resolve().parents[3]
ERRORS = {
    "unforeseen": ValueError("a matrix\nof no rank"),
    "empty": AssertionError(),
    "memory": MemoryError(),
    "torch": RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"),
    "full": OSError(errno.ENOSPC, "No space left on device", "a/model.pt"),
    "nameless": OSError(errno.EDQUOT, "Disk quota exceeded"),
    "library": RuntimeError("SafetensorError: I/O error: No space left on device (os error 28)"),
    "forbidden": PermissionError(errno.EACCES, "Permission denied", "a/b"),
    "readonly": OSError(errno.EROFS, "Read-only file system", "a/b"),
    "files": OSError(errno.EMFILE, "Too many open files", "a/b"),
    "nofile": OSError("a socket of no file"),
    "pipe": BrokenPipeError(errno.EPIPE, "Broken pipe"),
}


def fail(words: Sequence[str], _: Console, __: bool, /) -> None:
    """Stand in for a verb: raise what the last of `words` names."""
    raise ERRORS[words[-1]]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a run folder of which `report` then fails as its last word says."""
    with Journal(tmp_path / "journal.jsonl", {}):
        pass
    row = replace(VERBS["report"], check=lambda _: None, do=f"{__name__}:fail")
    monkeypatch.setitem(VERBS, "report", row)
    return tmp_path


def said(capsys: pytest.CaptureFixture[str]) -> str:
    line = capsys.readouterr().err
    assert line.count("\n") == 1
    assert "Traceback" not in line
    return line


def test_what_nobody_foresaw_is_one_line_and_its_traceback_is_in_the_run_folder(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for _ in range(2):
        assert run_search.main(["report", str(run), "unforeseen"]) == 70
        line = said(capsys)
        assert line.startswith("internal error: ValueError: a matrix of no rank; traceback in ")
        assert str(run / FILE) in line
    text = (run / FILE).read_text(encoding="utf-8")
    assert text.count("Traceback (most recent call last)") == 2
    assert f"['{run}', 'unforeseen']" in text


def test_where_there_is_no_run_the_traceback_goes_to_the_temporary_folder(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (run / "journal.jsonl").unlink()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    assert run_search.main(["report", str(run), "unforeseen"]) == 70
    (path,) = tmp_path.glob("internal_error_*.txt")
    assert f"traceback in {path};" in said(capsys)
    assert "a matrix" in path.read_text(encoding="utf-8")


def test_a_traceback_that_no_place_takes_fails_nothing(
    run: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(**_: object) -> None:
        raise OSError(errno.ENOSPC, "full")

    (run / FILE).mkdir()
    monkeypatch.setattr("tempfile.mkstemp", refuse)
    assert run_search.main(["report", str(run), "empty"]) == 70
    assert said(capsys) == "internal error: AssertionError: ; traceback by --debug; please report it\n"


@pytest.mark.parametrize(
    ("what", "code", "line"),
    [
        ("memory", 75, "out of memory; make room, or use fewer workers: what is finished is kept; run it again"),
        ("torch", 75, "out of memory: [enforce fail] DefaultCPUAllocator"),
        ("full", 75, "disk full: 'a/model.pt': No space left on device; make room: what is finished is kept; run it"),
        ("nameless", 75, "disk full: Disk quota exceeded; make room"),
        ("library", 75, "disk full: SafetensorError"),
        ("forbidden", 2, "'a/b': Permission denied"),
        ("readonly", 2, "'a/b': Read-only file system"),
        ("files", 75, "'a/b': Too many open files; what is finished is kept"),
        ("nofile", 70, "internal error: OSError: a socket of no file"),
    ],
)
def test_what_the_system_refuses_is_said_with_its_place(
    what: str, code: int, line: str, run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_search.main(["report", str(run), what]) == code
    assert said(capsys).startswith(line)
    assert (run / FILE).exists() == (code == 70)


def test_debug_raises_it(run: Path) -> None:
    with pytest.raises(ValueError, match="of no rank"):
        run_search.main(["report", str(run), "unforeseen", "--debug"])


def test_a_reader_that_has_gone_is_told_nothing(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_search.main(["report", str(run), "pipe"]) == 75
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("words", ["--help", "bench --help"])
def test_a_closed_pipe_is_quiet(words: str) -> None:
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run(
        [sys.executable, "run_search.py", *words.split()], cwd=ROOT, stdout=write, stderr=subprocess.PIPE, check=False
    )
    os.close(write)
    assert (done.returncode, done.stderr) == (75, b"")


@pytest.mark.parametrize(("redirected", "code"), [(">/dev/full", 75), (">&-", 0), ("<&-", 0)])
def test_an_output_that_cannot_be_written_is_no_traceback(redirected: str, code: int) -> None:
    line = f"{sys.executable} run_search.py --help {redirected}"
    done = subprocess.run(line, cwd=ROOT, shell=True, capture_output=True, text=True, check=False)
    assert done.returncode == code
    assert done.stderr.startswith("disk full: No space left on device; make room: ") == (code == 75)
    assert done.stderr.count("\n") == (code == 75)


@pytest.mark.parametrize("redirected", ["2>/dev/full", "2>&-"])
def test_the_code_comes_even_where_the_line_cannot(redirected: str) -> None:
    line = f"{sys.executable} run_search.py gflop=1 {redirected}"
    assert subprocess.run(line, cwd=ROOT, shell=True, capture_output=True, check=False).returncode == 2
