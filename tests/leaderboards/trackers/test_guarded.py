import sys
import time
from collections.abc import Callable, Iterator
from threading import Event, current_thread

import pytest

from evaluators.result import Result
from leaderboards.leaderboard import Leaderboard
from leaderboards.trackers.guarded import Guarded
from leaderboards.watcher import Watcher, Watchers
from tests.leaderboards.trackers.play import board, entry, result


class Listener(Watcher):
    """Keeps what it hears, and does `on_third` when it hears of candidate 2."""

    def __init__(self, on_third: Callable[[], object] = lambda: None) -> None:
        self.heard: list[object] = []
        self.threads: set[str] = set()
        self._on_third = on_third

    def stage(self, text: str, /) -> None:
        self.heard.append(text)

    def on_result(self, result: Result, /) -> None:
        if result.number == 2:
            self._on_third()
        self.heard.append(result.number)
        self.threads.add(current_thread().name)

    def on_end(self, board: Leaderboard, /) -> None:
        self.heard.append(len(board.entries))


@pytest.fixture
def release() -> Iterator[Event]:
    """Return what ends a hang when the test is over."""
    event = Event()
    yield event
    event.set()


def play(watcher: Watcher, *, n: int = 5) -> float:
    """Tell of a stage, `n` candidates and the end; return the seconds before the end."""
    start = time.monotonic()
    watcher.stage("search")
    for number in range(n):
        watcher.on_result(result(number, loss=1.0))
    seconds = time.monotonic() - start
    watcher.on_end(board())
    return seconds


def fail(error: BaseException) -> Callable[[], Watcher]:
    def act() -> Watcher:
        raise error

    return act


def test_everything_is_heard_in_order_in_one_thread() -> None:
    inner, said = Listener(), list[str]()
    play(Guarded("ok", lambda: inner, say=said.append))
    assert inner.heard == ["search", 0, 1, 2, 3, 4, 3]  # the board has 3 entries
    assert inner.threads == {"track=ok"}
    assert said == []


def test_epochs_and_rows_are_heard_as_they_were() -> None:
    class Rows(Watcher):
        def on_epoch(self, name: str, readings: object, /) -> None:
            heard.append((name, readings))

        def on_entry(self, entry: object, /) -> None:
            heard.append(entry)

    heard: list[object] = []
    started = Event()

    def opened() -> Watcher:
        started.wait()
        return Rows()

    watcher = Guarded("ok", opened, say=pytest.fail)
    readings, row = {"epoch": 1.0}, entry("row", result(0, loss=1.0).candidate, map50_95=0.4)
    watcher.on_epoch("row", readings)
    readings["epoch"] = 2.0  # by a run that is ahead of its tracker
    watcher.on_entry(row)
    started.set()
    watcher.on_end(board())
    assert heard == [("row", {"epoch": 1.0}), row]


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (ValueError("no\n\x1b[31mstore"), "ValueError: no [31mstore"),
        (SystemExit(1), "SystemExit: 1"),
        (OSError("http://me:secret@host/x refused"), "OSError: http://host/x refused"),
        (RuntimeError("x" * 1000), f"RuntimeError: {'x' * 283}..."),  # 300 in all
    ],
)
def test_a_tracker_that_cannot_be_opened_is_said_once_in_one_line(error: BaseException, text: str) -> None:
    said: list[str] = []
    play(Guarded("bad", fail(error), say=said.append))
    assert said == [f"track=bad: {text}; the run goes on without it"]


def test_a_tracker_is_opened_at_the_first_event_when_the_run_has_its_folder() -> None:
    is_opened = Event()

    def open_tracker() -> Watcher:
        is_opened.set()
        return Listener()

    watcher = Guarded("late", open_tracker, say=list[str]().append)
    assert not is_opened.wait(0.1)
    watcher.stage("search")
    assert is_opened.wait(10)


@pytest.mark.parametrize("leave", [lambda: 1 / 0, sys.exit])
def test_a_tracker_that_fails_on_its_way_is_left_and_others_hear_everything(leave: Callable[[], object]) -> None:
    bad, good, said = Listener(leave), Listener(), list[str]()
    guarded = [Guarded(name, lambda it=it: it, say=said.append) for name, it in (("bad", bad), ("good", good))]  # type: ignore[misc]
    play(Watchers(guarded))
    assert bad.heard == ["search", 0, 1]
    assert good.heard == ["search", 0, 1, 2, 3, 4, 3]
    (line,) = said
    assert line.startswith("track=bad: ")
    assert line.endswith("; the run goes on without it")


def test_a_tracker_that_hangs_delays_nobody_and_is_given_up_once(release: Event) -> None:
    slow, good, said = Listener(release.wait), Listener(), list[str]()
    hangs = Guarded("slow", lambda: slow, say=said.append, patience=0.2)
    start = time.monotonic()
    seconds = play(Watchers([hangs, Guarded("good", lambda: good, say=said.append)]), n=1000)
    assert seconds < 2.0
    assert 0.2 <= time.monotonic() - start < 4.0
    assert len(good.heard) == 1002
    assert said == ["track=slow: not done 0.2 s after the end; the run goes on without it"]


def test_a_tracker_that_hangs_while_it_is_opened_delays_nobody(release: Event) -> None:
    said: list[str] = []

    def hang() -> Watcher:
        release.wait()
        raise ValueError("too late to matter")

    watcher = Guarded("slow", hang, say=said.append, patience=0.1)
    assert play(watcher) < 2.0
    release.set()
    watcher.on_end(board())  # waits for the thread, which has nothing more to say
    assert said == ["track=slow: not done 0.1 s after the end; the run goes on without it"]


def test_a_full_queue_drops_events_and_that_is_said_once(release: Event) -> None:
    slow, said = Listener(release.wait), list[str]()
    watcher = Guarded("slow", lambda: slow, say=said.append, most_waiting=10)
    for number in range(2, 100):  # the first one hangs: 10 others wait
        watcher.on_result(result(number, loss=1.0))
    assert said == ["track=slow: too slow for this run; it misses some of what happens"]
    release.set()
    watcher.on_end(board())
    assert 11 <= len(slow.heard) <= 12  # one more if the first was taken out in between; the end is never dropped
    assert slow.heard[-1] == 3
    assert len(said) == 1


def test_the_end_gives_up_on_a_full_queue_too(release: Event) -> None:
    said: list[str] = []

    def hang() -> Watcher:
        release.wait()
        return Listener()

    watcher = Guarded("slow", hang, say=said.append, patience=0.1, most_waiting=3)
    assert play(watcher, n=50) < 2.0
    assert len(said) == 2
    assert said[-1].startswith("track=slow: not done 0.1 s after the end")
