"""When each result of a run was there: seconds of work since its search began, over all calls that resumed it."""

import time
from collections.abc import Callable

from evaluators.result import Result
from leaderboards.run_folder import seconds_of
from leaderboards.run_records import CLOCK
from leaderboards.watcher import Watcher
from search.journal import Journal


class Clock(Watcher):
    """A watcher that notes in the journal when each result came.

    What a run does besides measuring (proposing, training between rounds, waiting for a generation to end) counts;
    the time between two calls of it does not.
    """

    def __init__(self, journal: Journal, /, *, now: Callable[[], float] = time.monotonic) -> None:
        self._journal, self._now = journal, now
        self._started = now() - max(seconds_of(journal).values(), default=0.0)

    def on_result(self, result: Result, /) -> None:
        """Note the time."""
        self._journal.append(CLOCK, {"number": result.number, "seconds": round(self._now() - self._started, 3)})
