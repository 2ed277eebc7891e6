import os
import sys
import threading
from pathlib import Path
from types import ModuleType

import pytest

from leaderboards.trackers.by_name import TRACKERS, TrackerRecord
from leaderboards.trackers.tracker import RunFacts, follow
from leaderboards.watcher import Watcher
from tests.leaderboards.trackers.play import board, facts


class Opened(Watcher):
    """Says for which run, in which thread and in what environment it was opened."""

    def __init__(self, run: RunFacts, told: list[object]) -> None:
        told += [run, threading.current_thread().name, os.environ["OF_TRACKER"]]


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """Return what the tracker "own" hears when it is opened."""
    heard: list[object] = []
    module = ModuleType("own_tracker")
    vars(module)["open_tracker"] = lambda run: Opened(run, heard)
    monkeypatch.setitem(sys.modules, "own_tracker", module)
    row = TrackerRecord("own", "own_tracker:open_tracker", "pytest", "own", {"OF_TRACKER": "quiet"})
    monkeypatch.setitem(TRACKERS, "own", row)
    monkeypatch.setenv("OF_TRACKER", "")  # so that it is put back
    monkeypatch.delenv("OF_TRACKER")
    return heard


def test_a_tracker_is_opened_in_its_own_thread_and_environment(told: list[object], tmp_path: Path) -> None:
    run, said = facts(tmp_path), list[str]()
    for watcher in follow(["own"], run, say=said.append):
        watcher.on_end(board())
    assert told == [run, "track=own", "quiet"]
    assert said == []


def test_what_the_user_has_set_is_left_as_it_is(
    told: list[object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OF_TRACKER", "loud")
    for watcher in follow(["own"], facts(tmp_path), say=pytest.fail):
        watcher.on_end(board())
    assert told[-1] == "loud"
    assert os.environ["OF_TRACKER"] == "loud"


def test_a_tracker_that_cannot_be_imported_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(TRACKERS, "own", TrackerRecord("own", "no_such_module:it", "pytest", "own"))
    said: list[str] = []
    for watcher in follow(["own"], facts(tmp_path), say=said.append):
        watcher.on_end(board())
    assert said == ["track=own: ModuleNotFoundError: No module named 'no_such_module'; the run goes on without it"]
