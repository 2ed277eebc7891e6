"""The truth of a run: an append-only file of JSON lines from which everything else is derived.

One process writes. Each record is one `write` and one `fsync`, and carries the CRC-32 of its text, so a kill loses
at most the line that was being written and damage is noticed. The first line is a header with the recipe; a file
without one is refused, because a silent fresh start would throw a search away.
"""

import errno
import fcntl
import json
import os
import shutil
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple, Self

from evaluators.result import Result
from spaces.errors import BadInput

FORMAT = 1
RESULT = "result"

Record = Mapping[str, object]


class _Lines(NamedTuple):
    """The content of a journal file."""

    header: Record
    records: list[dict[str, object]]
    good: list[bytes]  # every intact line as written, the header first
    bad: list[bytes]
    tail: bytes  # what a killed writer left of its last line


class Replay:
    """What a journal says.

    Attributes:
        header: the recipe that the run was started with.
        results: the candidates' results by number.
        damaged: how many lines could not be read when the file was opened.
    """

    def __init__(self, lines: _Lines, /) -> None:
        self.header = lines.header
        self.damaged = len(lines.bad)
        self._records: dict[str, list[Record]] = {}
        self._results: dict[int, Result] = {}
        for record in lines.records:
            self._add(str(record.pop("kind")), record)

    @property
    def results(self) -> Mapping[int, Result]:
        """The candidates' results by number."""
        return self._results

    def records(self, kind: str, /) -> list[Record]:
        """Return the records of one kind in the order in which they were written."""
        return list(self._records.get(kind, ()))

    def _add(self, kind: str, record: Record) -> None:
        self._records.setdefault(kind, []).append(record)
        if kind == RESULT:
            result = Result.from_json(record)
            self._results.setdefault(result.number, result)


class Journal(Replay):
    """The journal of a run, open for writing by this process alone; a context manager.

    A torn last line is cut off. Damaged lines in the middle are moved to `<name>.bad` beside the file, which leaves
    their candidates to be measured again. The lock is a file `<name>.lock` that holds the writer's process id.

    Args:
        path: a file that exists already is replayed.
        header: the recipe, JSON values only; it must equal the one that an existing file was started with.

    Raises:
        BadInput: another process writes it, it is no journal, or it belongs to another recipe.
    """

    def __init__(self, path: Path, header: Record) -> None:
        self.path = path
        self._lock = _locked(path.with_name(f"{path.name}.lock"))
        try:
            if not path.exists():
                _replace(path, [_line({"kind": "header", "format": FORMAT, "recipe": dict(header)})])
            lines = _parse(path)
            check_recipe(path, lines.header, header)
            _repair(path, lines)
            super().__init__(lines)
            self._file = os.open(path, os.O_WRONLY | os.O_APPEND)
        except BaseException:
            os.close(self._lock)
            raise

    @staticmethod
    def read(path: Path) -> Replay:
        """Return what the journal at `path` says, also while a run is writing it; nothing is changed.

        Raises:
            BadInput: there is no such file, or it is no journal.
        """
        return Replay(_parse(path))

    def append(self, kind: str, record: Record) -> None:
        """Write one record; it is on disk when this returns.

        Raises:
            ValueError: a value has no JSON form; NaN and infinity have none.
            OSError: it could not be written, for example because the disk is full; the file stays readable.
        """
        _write(self._file, _line({"kind": kind, **record}), self.path)
        self._add(kind, record)

    def append_result(self, result: Result) -> None:
        """Write one result; one that is there already is left alone.

        Raises:
            ValueError: its number belongs to another candidate.
            OSError: as in `append`.
        """
        known = self._results.get(result.number)
        if known is None:
            self.append(RESULT, result.to_json())
        elif known.candidate != result.candidate:
            raise ValueError(f"number {result.number} must be {known.candidate.id}, got {result.candidate.id}")

    def close(self) -> None:
        """Release the file and the lock."""
        os.close(self._file)
        os.close(self._lock)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _line(record: Record) -> bytes:
    """Return `record` as one line: a JSON object whose first key is the CRC-32 of the text without that key."""
    text = json.dumps(record, allow_nan=False, separators=(",", ":")).encode()
    return b'{"crc32":"%08x",%b\n' % (zlib.crc32(text), text[1:])


def _unline(line: bytes) -> dict[str, object] | None:
    """Return the record of `line` without its line end, None if it is damaged."""
    head, text = line[:20], b"{" + line[20:]
    if head != b'{"crc32":"%08x",' % zlib.crc32(text):
        return None
    record: dict[str, object] = json.loads(text)
    return record


def _parse(path: Path) -> _Lines:
    try:
        *lines, tail = path.read_bytes().split(b"\n")
    except OSError as error:
        raise BadInput(f"{path}: no journal can be read here, {error.strerror}") from error
    header = _unline(lines[0]) if lines else None
    if header is None or header.get("kind") != "header":
        raise BadInput(f"{path}: not a journal of this program, its first line is missing or damaged")
    recipe = header.get("recipe")
    if header.get("format") != FORMAT or not isinstance(recipe, dict):
        raise BadInput(f"{path}: journal format {header.get('format')}, this version reads format {FORMAT}")
    read = [(line, _unline(line)) for line in lines[1:]]
    return _Lines(
        header=recipe,
        records=[record for _, record in read if record is not None],
        good=[lines[0] + b"\n", *(line + b"\n" for line, record in read if record is not None)],
        bad=[line + b"\n" for line, record in read if record is None],
        tail=tail,
    )


def check_recipe(path: Path, there: Record, asked: Record) -> None:
    """Make sure that the run at `path`, started with the header `there`, is the one that is `asked` for.

    Raises:
        BadInput: they differ; the message names each key with both values.
    """
    wanted = json.loads(json.dumps(dict(asked), allow_nan=False))
    keys = [key for key in sorted({*there, *wanted}) if there.get(key) != wanted.get(key)]
    if keys:
        told = ", ".join(f"{key} {there.get(key)!r:.40} there, {wanted.get(key)!r:.40} asked" for key in keys)
        raise BadInput(f"{path}: the run folder belongs to another recipe: {told}")


def _repair(path: Path, lines: _Lines) -> None:
    if lines.bad:
        with path.with_name(f"{path.name}.bad").open("ab") as quarantine:
            quarantine.writelines(lines.bad)
    if lines.bad or lines.tail:
        _replace(path, lines.good)


def _replace(path: Path, lines: list[bytes]) -> None:
    """Put a file of `lines` at `path` in one step."""
    partial = path.with_name(f"{path.name}.partial")
    with partial.open("wb") as file:
        file.writelines(lines)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)
    folder = os.open(path.parent, os.O_RDONLY)
    os.fsync(folder)
    os.close(folder)


def _locked(path: Path) -> int:
    """Return a descriptor that holds the lock; closing it, or dying, gives the lock back."""
    lock = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.read(lock, 32).decode() or "unknown"
        os.close(lock)
        raise BadInput(f"{path.parent}: another run is writing here, process {holder}") from None
    os.ftruncate(lock, 0)
    os.write(lock, str(os.getpid()).encode())
    return lock


def _write(file: int, line: bytes, path: Path) -> None:
    end = os.fstat(file).st_size
    try:
        if os.write(file, line) < len(line):
            free = shutil.disk_usage(path.parent).free
            raise OSError(errno.ENOSPC, f"disk full: a line of {len(line)} bytes did not fit, {free} bytes are free")
        os.fsync(file)
    except OSError as error:
        os.ftruncate(file, end)
        raise OSError(error.errno, f"{error.strerror}; every line before this one is kept", str(path)) from error
