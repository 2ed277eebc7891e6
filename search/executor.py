"""Where candidates are measured: the one interface, and the executor that needs no other process."""

import time
from collections.abc import Iterator, Sequence
from typing import Protocol

from evaluators.result import Job, Measure, Result, Status
from spaces.errors import Interrupted
from spaces.files import RESUMED, tells_of_full_disk


class Executor(Protocol):
    """Measures candidates, somewhere, in any order."""

    def run(self, jobs: Sequence[Job], /) -> Iterator[Result]:
        """Yield one result for each job, in the order in which they end; exhaust it before the next call."""
        ...

    def close(self) -> None:
        """Give back what was taken; no `run` after it."""
        ...


class InProcess:
    """Measures one candidate after another, right here."""

    def __init__(self, measure: Measure, /) -> None:
        self._measure = measure

    def run(self, jobs: Sequence[Job], /) -> Iterator[Result]:
        """Yield one result for each job, in the order of the jobs.

        Raises:
            Interrupted: a disk is full.
        """
        return (checked(guarded(self._measure, job)) for job in jobs)

    def close(self) -> None:
        """Do nothing: nothing was taken."""


def guarded(measure: Measure, job: Job, /) -> Result:
    """Return what `measure` makes of `job`; an error becomes a FAILED result that says "ErrorType: text".

    The kind of a reading or a loss that is not finite is NAN.
    """
    started = time.monotonic()
    try:
        return measure(job)
    except Exception as error:  # the worker's outermost call: one bad candidate never ends a search
        return failed(job, f"{_kind(error)}: {error}", seconds=time.monotonic() - started)


def failed(job: Job, error: str, /, *, seconds: float) -> Result:
    """Return the FAILED result of `job`."""
    return Result(job.number, job.candidate, Status.FAILED, {}, seconds, error)


def checked(result: Result, /) -> Result:
    """Return `result`, unless it failed for want of room, which is no fault of the candidate's.

    Raises:
        Interrupted: it did; when there is room it is measured again.
    """
    if result.status is Status.FAILED and tells_of_full_disk(result.error):
        raise Interrupted(f"disk full: candidate {result.number}: {result.error}; make room: {RESUMED}")
    return result


def _kind(error: Exception) -> str:
    is_nan = isinstance(error, FloatingPointError) or str(error).startswith("readings must be finite")
    return "NAN" if is_nan else type(error).__name__
