"""Who is told how a run goes; the run knows nothing of terminals, and of nobody who listens."""

from collections.abc import Mapping, Sequence

from evaluators.result import Result
from leaderboards.entry import Entry
from leaderboards.leaderboard import Leaderboard


class Watcher:
    """Who is told how the run goes; what one does not care for it leaves as it is here, where nothing happens."""

    def stage(self, text: str, /) -> None:
        """Hear that a new stage begins."""

    def on_result(self, result: Result, /) -> None:
        """Hear of a measured candidate."""

    def on_epoch(self, name: str, readings: Mapping[str, float], /) -> None:
        """Hear that the row or base `name` finished an epoch of training; "epoch" in the readings counts from 1."""

    def on_entry(self, entry: Entry, /) -> None:
        """Hear of a row that is finished, or failed."""

    def on_end(self, board: Leaderboard, /) -> None:
        """Hear that the run is over, and everything is written."""


class Watchers(Watcher):
    """Several watchers as one, told in their order."""

    def __init__(self, watchers: Sequence[Watcher], /) -> None:
        self._watchers = watchers

    def stage(self, text: str, /) -> None:
        """Tell all of them that a stage begins."""
        for watcher in self._watchers:
            watcher.stage(text)

    def on_result(self, result: Result, /) -> None:
        """Tell all of them of a measured candidate."""
        for watcher in self._watchers:
            watcher.on_result(result)

    def on_epoch(self, name: str, readings: Mapping[str, float], /) -> None:
        """Tell all of them of a finished epoch."""
        for watcher in self._watchers:
            watcher.on_epoch(name, readings)

    def on_entry(self, entry: Entry, /) -> None:
        """Tell all of them of a finished row."""
        for watcher in self._watchers:
            watcher.on_entry(entry)

    def on_end(self, board: Leaderboard, /) -> None:
        """Tell all of them that the run is over."""
        for watcher in self._watchers:
            watcher.on_end(board)
