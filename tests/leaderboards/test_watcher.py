from collections.abc import Mapping
from pathlib import Path

import pytest

from evaluators.result import Result, Status
from leaderboards.entry import PARENT, Entry
from leaderboards.leaderboard import Leaderboard
from leaderboards.runs.clock import Clock
from leaderboards.watcher import Watcher, Watchers
from search.journal import Journal
from spaces.candidate import Candidate

CANDIDATE = Candidate("same", ())
RESULT = Result(3, CANDIDATE, Status.DONE, {"loss": 1.0}, 0.5)
ENTRY = Entry(
    PARENT, CANDIDATE, PARENT, Status.FAILED, proxy=None, proxy_name="loss", imgsz=64, seed=0, epochs=0, seconds=0.0,
    quality=None, error="none",
)  # fmt: skip
BOARD = Leaderboard([ENTRY], {})
CALLS = ["searching", "result 3", "row 1", "entry parent", "end of 1"]


class Told(Watcher):
    """Writes down what it is told, into a list that it shares with others."""

    def __init__(self, name: str, calls: list[str]) -> None:
        self._name, self._calls = name, calls

    def stage(self, text: str, /) -> None:
        self._note(text)

    def on_result(self, result: Result, /) -> None:
        self._note(f"result {result.number}")

    def on_epoch(self, name: str, readings: Mapping[str, float], /) -> None:
        self._note(f"{name} {readings['epoch']:.0f}")

    def on_entry(self, entry: Entry, /) -> None:
        self._note(f"entry {entry.id}")

    def on_end(self, board: Leaderboard, /) -> None:
        self._note(f"end of {len(board.entries)}")

    def _note(self, call: str) -> None:
        self._calls.append(f"{self._name}: {call}")


class Results(Watcher):
    """Cares for results alone."""

    def __init__(self) -> None:
        self.results: list[Result] = []

    def on_result(self, result: Result, /) -> None:
        self.results.append(result)


def tell_everything(watcher: Watcher) -> None:
    watcher.stage("searching")
    watcher.on_result(RESULT)
    watcher.on_epoch("row", {"epoch": 1.0})
    watcher.on_entry(ENTRY)
    watcher.on_end(BOARD)


@pytest.mark.parametrize("names", ["", "a", "ab", "ba", "abc"])
def test_all_are_told_everything_in_their_order(names: str) -> None:
    calls: list[str] = []
    tell_everything(Watchers([Told(name, calls) for name in names]))
    assert calls == [f"{name}: {call}" for call in CALLS for name in names]


def test_watchers_may_be_among_watchers() -> None:
    calls: list[str] = []
    first, second, third = (Told(name, calls) for name in "abc")
    tell_everything(Watchers([Watchers([first, second]), third]))
    assert calls == [f"{name}: {call}" for call in CALLS for name in "abc"]


def test_what_one_does_not_care_for_it_leaves() -> None:
    watcher = Results()
    tell_everything(watcher)
    assert watcher.results == [RESULT]


def test_a_clock_keeps_nothing_from_those_after_it(tmp_path: Path) -> None:
    calls: list[str] = []
    with Journal(tmp_path / "journal.jsonl", {}) as journal:
        tell_everything(Watchers([Clock(journal), Told("a", calls)]))
    assert calls == [f"a: {call}" for call in CALLS]
