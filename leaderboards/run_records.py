"""The lines of a run's journal, each checked before anything is made of it: their kinds, their keys, their types."""

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Annotated

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError, with_config

from evaluators.proxies.by_name import METRICS
from evaluators.result import Result
from leaderboards.entry import Entry
from search.replay import RESULT, Record, Replay
from search.strategies.ladder import FIDELITY
from spaces.errors import BadInput

SPACE = "space"
BASE = "base"
CLOCK = "clock"
ENTRY = "entry"
HALVING = "halving"
_STRICT = ConfigDict(extra="forbid", strict=True)


@with_config(_STRICT)
@dataclass(frozen=True)
class _Space:
    limits: dict[str, Annotated[float, Field(gt=0)]]
    blocks: list[tuple[str, int]]
    notes: list[str]
    parent: dict[str, float] | None = None
    is_labelled: bool = True


@with_config(_STRICT)
@dataclass(frozen=True)
class _Base:
    name: str
    blocks: list[tuple[str, int]]


@with_config(_STRICT)
@dataclass(frozen=True)
class _Clock:
    number: int
    seconds: float


@with_config(_STRICT)
@dataclass(frozen=True)
class _Trained:
    map50_95: float | None
    seconds: float


@with_config(_STRICT)
@dataclass(frozen=True)
class _Halving:
    rung: int
    rows: dict[str, _Trained]
    failed: dict[str, str]
    go_on: list[str]


def check_records(journal: Replay, /) -> None:
    """Make sure that each record of the run is what this version writes, or an earlier one has written.

    Raises:
        BadInput: one is not; the message names the file, the line, and what is unknown.
    """
    for kind in journal.kinds:
        for number, record in journal.lines(kind):
            try:
                _check(kind, record)
            except (BadInput, ValidationError) as error:
                raise BadInput(
                    f"{journal.path}:{number}: the line is whole, and not of this version: {_fault(error)}"
                ) from error


def notes_on(journal: Replay, /) -> list[str]:
    """Return a sentence on the lines that could not be read, if there are any."""
    lines = ", ".join(map(str, journal.damaged))
    one = len(journal.damaged) == 1
    return [f"Damaged in the journal and set aside: line{'' if one else 's'} {lines}."] if lines else []


def _check(kind: str, record: Record) -> None:
    if kind not in _CHECKS:
        raise BadInput(f"unknown kind {kind!r:.40}; there are {', '.join(_CHECKS)}")
    _CHECKS[kind](record)


def _check_entry(record: Record) -> None:
    """Check the types too, which `Entry.from_json` trusts."""
    entry = Entry.from_json(record)
    TypeAdapter(Entry).validate_json(json.dumps(asdict(entry)), strict=True)
    if entry.proxy_name not in METRICS:
        raise BadInput(f"unknown proxy {entry.proxy_name!r:.40}")
    if entry.quality is not None and not (entry.quality.gflops > 0 and all(entry.quality.readings().values())):
        raise BadInput(f"a row must cost more than nothing, got {entry.quality.readings()}")


def _shaped(kind: type) -> Callable[[Record], object]:
    adapter: TypeAdapter[object] = TypeAdapter(kind)
    return lambda record: adapter.validate_json(json.dumps(dict(record)))  # as JSON, where a pair is a list


_CHECKS: Mapping[str, Callable[[Record], object]] = {
    RESULT: Result.from_json,
    SPACE: _shaped(_Space),
    BASE: _shaped(_Base),
    CLOCK: _shaped(_Clock),
    ENTRY: _check_entry,
    FIDELITY: Result.from_json,
    HALVING: _shaped(_Halving),
}


def _fault(error: BadInput | ValidationError) -> str:
    if isinstance(error, BadInput):
        return str(error)
    fault = error.errors()[0]
    return f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}, got {fault['input']!r:.40}"
