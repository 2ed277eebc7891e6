from pathlib import Path

from evaluators.result import Result, Status
from leaderboards.run_folder import seconds_of
from leaderboards.runs.clock import Clock
from search.journal import Journal
from spaces.candidate import Candidate


def result(number: int) -> Result:
    return Result(number, Candidate("same", ()), Status.DONE, {"loss": 1.0}, 0.5)


def test_time_goes_on_where_the_call_before_stopped(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    with Journal(path, {}) as journal:
        times = iter([100.0, 102.5, 104.0])  # made at 100, results 2.5 and 4 seconds later
        clock = Clock(journal, now=lambda: next(times))
        clock.stage("searching")
        clock.on_result(result(1))
        clock.on_result(result(0))
    with Journal(path, {}) as journal:
        times = iter([900.0, 901.0])  # a second after the second call began
        clock = Clock(journal, now=lambda: next(times))
        clock.on_result(result(2))
        clock.on_epoch("row", {"epoch": 1.0})
        assert seconds_of(journal) == {1: 2.5, 0: 4.0, 2: 5.0}


def test_a_run_of_before_there_was_a_clock_tells_no_times(tmp_path: Path) -> None:
    with Journal(tmp_path / "journal.jsonl", {}) as journal:
        assert seconds_of(journal) == {}
