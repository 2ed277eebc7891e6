"""From what happens in a run to what a tracker's store keeps: the same names and steps in all of them."""

import re
from collections.abc import Mapping

from evaluators.result import Result, Status
from leaderboards.columns import numbers
from leaderboards.entry import Entry
from leaderboards.leaderboard import Leaderboard
from leaderboards.trackers.store import Store
from leaderboards.trackers.tracker import RunFacts
from leaderboards.watcher import Watcher
from leaderboards.wording import one_line

FILES = ("leaderboard.csv", "report.html")


class Recorder(Watcher):
    """Writes to `store`: readings of candidates by their number, of rows by their epoch, and finished rows."""

    def __init__(self, store: Store, facts: RunFacts, /) -> None:
        self._store, self._folder, self._n_failed = store, facts.folder, facts.n_failed
        store.write_settings(facts.settings)

    def stage(self, text: str, /) -> None:
        """Write what the run is at."""
        self._store.write_text("stage", one_line(text))

    def on_result(self, result: Result, /) -> None:
        """Write what was measured of a candidate; one that failed is counted."""
        found = dict(result.readings)
        if result.status is Status.FAILED:
            self._n_failed += 1
            found["n_failed"] = self._n_failed
        self._write("search", found, step=result.number)

    def on_epoch(self, name: str, readings: Mapping[str, float], /) -> None:
        """Write the readings of an epoch of the row or base `name`."""
        rest = {reading: value for reading, value in readings.items() if reading != "epoch"}
        self._write(_plain(name), rest, step=int(readings["epoch"]))

    def on_entry(self, entry: Entry, /) -> None:
        """Write what was measured of a row, or why it failed."""
        group = f"rows/{_plain(entry.id)}"
        if entry.quality is None:
            self._store.write_text(f"{group}/error", one_line(entry.error))
        else:
            self._write(group, numbers(entry.quality), step=None)

    def on_end(self, board: Leaderboard, /) -> None:
        """Write the best row within the limits, and the files of the leaderboard."""
        best = next((choice for row in board.rows if (choice := board.choice(row))), None)
        self._store.write_text("best/row", "none is within the limits" if best is None else best.entry.id)
        if best is not None:
            self._write("best", {"map50_95": best.map50_95}, step=None)
        self._store.finish([path for name in FILES if (path := self._folder / name).exists()])

    def _write(self, group: str, found: Mapping[str, float], *, step: int | None) -> None:
        if found:
            plain = {_plain(name): float(value) for name, value in found.items()}
            self._store.write_numbers(group, plain, step=step)


def _plain(name: str) -> str:
    """Return `name` in the letters that every store takes."""
    return re.sub(r"[^\w-]", "_", name, flags=re.ASCII)
