"""When each result of a run was there: seconds of work since its search began, over all calls that resumed it."""

import time
from collections.abc import Callable, Mapping

from evaluators.result import Result
from leaderboards.run_folder import CLOCK, seconds_of
from leaderboards.watcher import Watcher
from search.journal import Journal


class Clock:
    """A watcher that passes everything on, and notes in the journal when each result came.

    What a run does besides measuring (proposing, training between rounds, waiting for a generation to end) counts;
    the time between two calls of it does not.
    """

    def __init__(self, watcher: Watcher, journal: Journal, /, *, now: Callable[[], float] = time.monotonic) -> None:
        self._watcher, self._journal, self._now = watcher, journal, now
        self._started = now() - max(seconds_of(journal).values(), default=0.0)

    def stage(self, text: str) -> None:
        """Pass on which stage begins."""
        self._watcher.stage(text)

    def on_result(self, result: Result) -> None:
        """Note the time, and pass on what was measured."""
        self._journal.append(CLOCK, {"number": result.number, "seconds": round(self._now() - self._started, 3)})
        self._watcher.on_result(result)

    def on_epoch(self, name: str, readings: Mapping[str, float]) -> None:
        """Pass on that an epoch ended."""
        self._watcher.on_epoch(name, readings)
