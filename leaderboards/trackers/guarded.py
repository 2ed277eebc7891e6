"""A tracker at arm's length: it is foreign code that may fail, hang, or be slow, and none of this is the run's affair.

It lives in one daemon thread of its own, behind a queue. The run puts in what happens and goes on.
"""

import re
import time
from collections.abc import Callable, Mapping
from queue import Full, Queue
from threading import Event, Lock, Thread
from typing import NamedTuple

from evaluators.result import Result
from leaderboards.entry import Entry
from leaderboards.leaderboard import Leaderboard
from leaderboards.watcher import Watcher
from leaderboards.wording import one_line

PATIENCE = 15.0
"""Seconds that the end of a run waits for a tracker; opening a new SQLite store takes MLflow about 10."""
MOST_WAITING = 10_000
"""Events that wait for a tracker before it misses some."""
_PASSWORD = re.compile(r"(?<=://)[^/@\s]+@")


class _Event(NamedTuple):
    tell: Callable[[Watcher], None]
    is_last: bool = False


class Guarded(Watcher):
    """A tracker that is opened and called in a thread of its own; what goes wrong there is said once, in one line.

    It is opened at the first event, when the run has its folder: a tracker may write there.

    Args:
        open_tracker: called in that thread.
        say: is told what goes wrong, from that thread or the run's.
        patience: seconds that `on_end` waits for the tracker to hear everything.
        most_waiting: events that wait for it; what comes while there are so many is dropped.
    """

    def __init__(
        self,
        name: str,
        open_tracker: Callable[[], Watcher],
        *,
        say: Callable[[str], None],
        patience: float = PATIENCE,
        most_waiting: int = MOST_WAITING,
    ) -> None:
        self._name, self._say, self._patience = name, say, patience
        self._waiting: Queue[_Event] = Queue(most_waiting)
        self._is_over, self._lock = Event(), Lock()
        self._is_left = self._has_dropped = False
        self._thread = Thread(target=self._live, args=(open_tracker,), name=f"track={name}", daemon=True)

    def stage(self, text: str, /) -> None:
        """Pass on that a stage begins."""
        self._put(lambda tracker: tracker.stage(text))

    def on_result(self, result: Result, /) -> None:
        """Pass on a measured candidate."""
        self._put(lambda tracker: tracker.on_result(result))

    def on_epoch(self, name: str, readings: Mapping[str, float], /) -> None:
        """Pass on a finished epoch."""
        known = dict(readings)  # the caller may write to its own again
        self._put(lambda tracker: tracker.on_epoch(name, known))

    def on_entry(self, entry: Entry, /) -> None:
        """Pass on a finished row."""
        self._put(lambda tracker: tracker.on_entry(entry))

    def on_end(self, board: Leaderboard, /) -> None:
        """Pass on that the run is over, and wait until all is told, but not for long."""
        until = time.monotonic() + self._patience
        self._start()
        try:
            if not self._is_over.is_set():
                last = _Event(lambda tracker: tracker.on_end(board), is_last=True)
                self._waiting.put(last, timeout=self._patience)
        except Full:
            pass  # it hangs, which the wait below says
        if not self._is_over.wait(max(until - time.monotonic(), 0)):
            self._leave(f"not done {self._patience:g} s after the end")

    def _start(self) -> None:
        if self._thread.ident is None:
            self._thread.start()

    def _put(self, tell: Callable[[Watcher], None]) -> None:
        if self._is_over.is_set():
            return
        self._start()
        try:
            self._waiting.put_nowait(_Event(tell))
        except Full:
            if not self._has_dropped:
                self._has_dropped = True
                self._say(f"track={self._name}: too slow for this run; it misses some of what happens")

    def _live(self, open_tracker: Callable[[], Watcher]) -> None:
        try:
            tracker, event = open_tracker(), _Event(lambda _: None)
            while not event.is_last:
                event = self._waiting.get()
                event.tell(tracker)
        except (Exception, SystemExit) as error:  # foreign code, which may raise anything: the run goes on without it
            self._leave(one_line(_PASSWORD.sub("", f"{type(error).__name__}: {error}"), width=300))
        finally:
            self._is_over.set()

    def _leave(self, why: str) -> None:
        """Say why the run goes on without the tracker, unless that is said already."""
        with self._lock:
            was_left, self._is_left = self._is_left, True
        if not was_left:
            self._say(f"track={self._name}: {why}; the run goes on without it")
