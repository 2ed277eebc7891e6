"""The only thing that leaves a worker: what became of one candidate."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple, Self

from spaces.candidate import Candidate
from spaces.errors import BadInput


class Status(StrEnum):
    """How an evaluation ended. A failure is a status, never a number."""

    DONE = "DONE"
    OVER_BUDGET = "OVER_BUDGET"
    FAILED = "FAILED"


class Job(NamedTuple):
    """A candidate and its place in the order of proposals."""

    number: int
    candidate: Candidate


@dataclass(frozen=True)
class Result:
    """One evaluated candidate.

    Attributes:
        number: its place in the order of proposals, from 0.
        readings: values by metric name, all finite; empty of the costly ones unless DONE.
        seconds: the time the worker spent on it.
        error: for FAILED, the kind and the text of the error; for OVER_BUDGET, the budgets that it breaks.
    """

    number: int
    candidate: Candidate
    status: Status
    readings: Mapping[str, float]
    seconds: float
    error: str = ""

    def __post_init__(self) -> None:
        bad = {name: value for name, value in self.readings.items() if not math.isfinite(value)}
        if bad:
            raise ValueError(f"readings must be finite, got {bad}")

    def to_json(self) -> dict[str, object]:
        """Return the JSON form that the journal keeps."""
        return {
            "number": self.number,
            "candidate": self.candidate.to_json(),
            "status": self.status.value,
            "readings": dict(self.readings),
            "seconds": round(self.seconds, 4),
            "error": self.error,
        }

    @classmethod
    def from_json(cls, record: Mapping[str, object]) -> Self:
        """Return the result that `to_json` described.

        Raises:
            BadInput: the record has another shape.
        """
        match record:
            case {
                "number": int(number),
                "candidate": dict(candidate),
                "status": str(status),
                "readings": dict(readings),
                "seconds": int() | float() as seconds,
                "error": str(error),
            } if status in list(Status) and all(_is_finite(value) for value in readings.values()):
                return cls(number, Candidate.from_json(candidate), Status(status), readings, float(seconds), error)
        raise BadInput(f"not a result: {record!r:.80}")


Measure = Callable[[Job], Result]
"""What a worker does with each job."""


def _is_finite(value: object) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)
