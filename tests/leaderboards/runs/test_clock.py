from collections.abc import Mapping
from pathlib import Path

from evaluators.result import Result, Status
from leaderboards.run_folder import seconds_of
from leaderboards.runs.clock import Clock
from search.journal import Journal
from spaces.candidate import Candidate


class Told:
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.calls: list[str] = []

    def stage(self, text: str) -> None:
        self.calls.append(text)

    def on_result(self, result: Result) -> None:
        self.calls.append(f"result {result.number}")

    def on_epoch(self, name: str, readings: Mapping[str, float]) -> None:
        self.calls.append(f"{name} {readings['epoch']:.0f}")


def result(number: int) -> Result:
    return Result(number, Candidate("same", ()), Status.DONE, {"loss": 1.0}, 0.5)


def test_time_goes_on_where_the_call_before_stopped_and_everything_is_passed_on(tmp_path: Path) -> None:
    told, path = Told(), tmp_path / "journal.jsonl"
    with Journal(path, {}) as journal:
        times = iter([100.0, 102.5, 104.0])  # made at 100, results 2.5 and 4 seconds later
        clock = Clock(told, journal, now=lambda: next(times))
        clock.stage("searching")
        clock.on_result(result(1))
        clock.on_result(result(0))
    with Journal(path, {}) as journal:
        times = iter([900.0, 901.0])  # a second after the second call began
        clock = Clock(told, journal, now=lambda: next(times))
        clock.on_result(result(2))
        clock.on_epoch("row", {"epoch": 1.0})
        assert seconds_of(journal) == {1: 2.5, 0: 4.0, 2: 5.0}
    assert told.calls == ["searching", "result 1", "result 0", "result 2", "row 1"]


def test_a_run_of_before_there_was_a_clock_tells_no_times(tmp_path: Path) -> None:
    with Journal(tmp_path / "journal.jsonl", {}) as journal:
        assert seconds_of(journal) == {}
