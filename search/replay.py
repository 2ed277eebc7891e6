"""What a journal says: its lines, each checked by the CRC-32 of its text, and the records and results that they are.

A damaged line is noted and left out. One that is whole and that this version cannot read refuses the file: it is
another version's, and to set it aside would lose it.
"""

import codecs
import json
import math
import zlib
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import NamedTuple

from evaluators.result import Result
from spaces.errors import BadInput

FORMAT = 1
RESULT = "result"
RESULT_KEYS = {field.name for field in fields(Result)}

Record = Mapping[str, object]


class Line(NamedTuple):
    """A record and the number of its line in the file, from 1."""

    number: int
    record: Record


class Lines(NamedTuple):
    """The content of a journal file."""

    header: Record
    records: list[Line]
    good: list[bytes]  # every intact line as written, the header first
    bad: Mapping[int, bytes]  # the damaged ones by their numbers
    is_whole: bool  # whether the file is what this program writes: no torn last line, no editor's line ends


class Replay:
    """What a journal says.

    Attributes:
        path: of the file.
        header: the recipe that the run was started with.
        results: the candidates' results by number.
        damaged: the numbers of the lines that could not be read when the file was opened.
    """

    def __init__(self, path: Path, lines: Lines, /) -> None:
        self.path = path
        self.header = lines.header
        self.damaged = tuple(lines.bad)
        self._n_lines = len(lines.good) + len(lines.bad)
        self._lines: dict[str, list[Line]] = {}
        self._results: dict[int, Result] = {}
        for number, record in lines.records:
            self._add(str(record["kind"]), {key: record[key] for key in record if key != "kind"}, number)

    @property
    def results(self) -> Mapping[int, Result]:
        """The candidates' results by number."""
        return self._results

    @property
    def kinds(self) -> list[str]:
        """The kinds of records that there are, in the order in which they first occur."""
        return list(self._lines)

    def records(self, kind: str, /) -> list[Record]:
        """Return the records of one kind in the order in which they were written."""
        return [line.record for line in self.lines(kind)]

    def lines(self, kind: str, /) -> list[Line]:
        """Return the records of one kind with the numbers of their lines."""
        return list(self._lines.get(kind, ()))

    def _add(self, kind: str, record: Record, number: int) -> None:
        if kind == RESULT:
            result = _result(record, self.path, number)
            self._results.setdefault(result.number, result)
        self._lines.setdefault(kind, []).append(Line(number, record))


def line_of(record: Record) -> bytes:
    """Return `record` as one line: a JSON object whose first key is the CRC-32 of the text without that key."""
    text = json.dumps(record, allow_nan=False, separators=(",", ":")).encode()
    return b'{"crc32":"%08x",%b\n' % (zlib.crc32(text), text[1:])


def _unline(line: bytes) -> dict[str, object] | None:
    """Return the record of `line` without its line end, None if it is damaged.

    Raises:
        ValueError: it is whole, and no record.
    """
    head, text = line[:20], b"{" + line[20:]
    if head != b'{"crc32":"%08x",' % zlib.crc32(text):
        return None
    try:
        record: dict[str, object] = json.loads(text, parse_constant=_finite, parse_float=_finite)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
    if not isinstance(record.get("kind"), str):
        raise ValueError("it has no kind")
    return record


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text} is no finite number")
    return value


def _result(record: Record, path: Path, number: int) -> Result:
    if unknown := sorted(set(record) - RESULT_KEYS):
        raise BadInput(_unknown(path, number, f"a result has no key {unknown[0]!r:.40}"))
    try:
        return Result.from_json(record)
    except BadInput as error:
        raise BadInput(_unknown(path, number, str(error))) from error


def _unknown(path: Path, number: int, what: str) -> str:
    return f"{path}:{number}: the line is whole, and not of this version: {what}"


def parse(path: Path) -> Lines:
    """Return the content of the file at `path`, also where an editor has given it its own mark and line ends.

    Raises:
        BadInput: there is no such file, it is no journal, or it holds what this version does not know.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise BadInput(f"{path}: no journal can be read here, {error.strerror}") from error
    *lines, _torn = content.removeprefix(codecs.BOM_UTF8).replace(b"\r\n", b"\n").split(b"\n")
    read = {number: _read_line(line, path, number) for number, line in enumerate(lines, start=1)}
    header = read.pop(1, None)
    if header is None or header["kind"] != "header":
        raise BadInput(f"{path}: not a journal of this program, its first line is missing or damaged")
    recipe = header.get("recipe")
    if header.get("format") != FORMAT or not isinstance(recipe, dict):
        raise BadInput(f"{path}: journal format {header.get('format')!r:.40}, this version reads format {FORMAT}")
    good = [line + b"\n" for number, line in enumerate(lines, start=1) if number == 1 or read[number] is not None]
    return Lines(
        header=recipe,
        records=[Line(number, record) for number, record in read.items() if record is not None],
        good=good,
        bad={number: lines[number - 1] + b"\n" for number, record in read.items() if record is None},
        is_whole=b"".join(good) == content,
    )


def _read_line(line: bytes, path: Path, number: int) -> dict[str, object] | None:
    try:
        return _unline(line)
    except ValueError as error:
        raise BadInput(_unknown(path, number, str(error))) from error
