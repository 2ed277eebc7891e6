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
from contextlib import suppress
from pathlib import Path
from typing import Self

from evaluators.result import Result
from search.replay import FORMAT, RESULT, Lines, Record, Replay, line_of, parse
from spaces.errors import BadInput
from spaces.files import write_atomic


class Journal(Replay):
    """The journal of a run, open for writing by this process alone; a context manager.

    A torn last line is cut off. Damaged lines in the middle are moved to `<name>.bad` beside the file, which leaves
    their candidates to be measured again. The lock is a file `<name>.lock` that holds the writer's process id.

    Args:
        path: a file that exists already is replayed.
        header: the recipe, JSON values only; it must equal the one that an existing file was started with.

    Raises:
        BadInput: another process writes it, it is no journal, it belongs to another recipe, or a line that is whole
            holds what this version does not know.
        OSError: it cannot be written; a file that was there is untouched.
    """

    def __init__(self, path: Path, header: Record) -> None:
        self._lock = _locked(path.with_name(f"{path.name}.lock"))
        try:
            if not path.exists():
                _replace(path, [line_of({"kind": "header", "format": FORMAT, "recipe": dict(header)})])
            lines = parse(path)
            check_recipe(path, lines.header, header)
            super().__init__(path, lines)
            _repair(path, lines)
            self._file = os.open(path, os.O_WRONLY | os.O_APPEND)
        except BaseException:
            os.close(self._lock)
            raise

    @staticmethod
    def read(path: Path) -> Replay:
        """Return what the journal at `path` says, also while a run is writing it; nothing is changed.

        Raises:
            BadInput: there is no such file, it is no journal, or it holds what this version does not know.
        """
        return Replay(path, parse(path))

    def append(self, kind: str, record: Record) -> None:
        """Write one record; it is on disk when this returns.

        Raises:
            ValueError: a value has no JSON form; NaN and infinity have none.
            OSError: it could not be written, for example because the disk is full; the file stays readable.
        """
        _write(self._file, line_of({"kind": kind, **record}), self.path)
        self._n_lines += 1
        self._add(kind, record, self._n_lines)

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


def _repair(path: Path, lines: Lines) -> None:
    if lines.bad:
        with path.with_name(f"{path.name}.bad").open("ab") as quarantine:
            quarantine.writelines(lines.bad.values())
    if not lines.is_whole:
        _replace(path, lines.good)


def _replace(path: Path, lines: list[bytes]) -> None:
    """Put a file of `lines` at `path` in one step."""
    write_atomic(path, b"".join(lines))
    folder = os.open(path.parent, os.O_RDONLY)
    os.fsync(folder)
    os.close(folder)


def _locked(path: Path) -> int:
    """Return a descriptor that holds the lock; closing it, or dying, gives the lock back."""
    lock = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.read(lock, 32).decode(errors="replace") or "unknown"
        os.close(lock)
        raise BadInput(f"{path.parent}: another run is writing here, process {holder}") from None
    os.ftruncate(lock, 0)
    with suppress(OSError):  # a full disk: what counts is the lock
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
