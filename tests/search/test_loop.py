import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest

from evaluators.result import Job, Result, Status
from search.executor import InProcess
from search.journal import Journal
from search.loop import interruptible, search
from search.strategies.evolution import NSGA2
from search.strategies.random_search import RandomSearch
from spaces.errors import BadInput, Interrupted, NothingFeasible
from tests.search.toy import OBJECTIVES, ToySpace, ignore, measure

ROOT = Path(__file__).parents[2]
LIMITS = {"macs_g": 20.0}


class Backwards:
    """An executor whose results come in another order."""

    def run(self, jobs: Sequence[Job], /) -> Iterator[Result]:
        return (measure(job) for job in reversed(jobs))

    def close(self) -> None: ...


def play(path: Path, n: int = 40, seed: int = 0, executor: Backwards | InProcess | None = None) -> list[Result]:
    strategy = NSGA2(ToySpace(4), LIMITS, OBJECTIVES, population=8)
    with Journal(path, {}) as journal:
        return search(strategy, executor or InProcess(measure), journal, n_candidates=n, seed=seed, on_result=ignore)


def test_search_returns_the_asked_number_in_order(tmp_path: Path) -> None:
    assert [result.number for result in play(tmp_path / "j", 21)] == list(range(21))


def test_order_of_completion_changes_nothing(tmp_path: Path) -> None:
    assert play(tmp_path / "a") == play(tmp_path / "b", executor=Backwards())


def test_longer_search_goes_on_from_a_shorter_one(tmp_path: Path) -> None:
    play(tmp_path / "a", 13)
    told: list[int] = []
    strategy = NSGA2(ToySpace(4), LIMITS, OBJECTIVES, population=8)
    with Journal(tmp_path / "a", {}) as journal:
        longer = search(
            strategy,
            InProcess(measure),
            journal,
            n_candidates=40,
            seed=0,
            on_result=lambda result: told.append(result.number),
        )
    assert longer == play(tmp_path / "b") and told == list(range(13, 40))


def test_journal_of_another_seed_is_refused(tmp_path: Path) -> None:
    play(tmp_path / "a", 8)
    with pytest.raises(BadInput, match="another search: its candidate 0"):
        play(tmp_path / "a", 8, seed=1)


def test_search_of_failures_only_stops_with_the_first_error(tmp_path: Path) -> None:
    def fail(job: Job) -> Result:
        raise ValueError(f"bad {job.number}")

    with pytest.raises(NothingFeasible, match="first 20 candidates all failed, number 0 with: ValueError: bad 0"):
        play(tmp_path / "a", executor=InProcess(fail))
    assert len(Journal.read(tmp_path / "a").results) == 20


def test_one_success_keeps_the_search_going(tmp_path: Path) -> None:
    def fail_mostly(job: Job) -> Result:
        return measure(job) if job.number == 5 else Result(*job, Status.FAILED, {}, 0.0, "E: no")

    strategy = RandomSearch(ToySpace(4), LIMITS)
    with Journal(tmp_path / "a", {}) as journal:
        executor = InProcess(fail_mostly)
        assert len(search(strategy, executor, journal, n_candidates=40, seed=0, on_result=ignore)) == 40


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signal_becomes_interrupted_and_handlers_come_back(number: signal.Signals) -> None:
    before = signal.getsignal(number)
    with pytest.raises(Interrupted, match=number.name), interruptible():
        os.kill(os.getpid(), number)
        time.sleep(5)
    assert signal.getsignal(number) is before


def run_driver(path: Path) -> "subprocess.Popen[bytes]":
    return subprocess.Popen([sys.executable, "-m", "tests.search.toy_run", str(path)], cwd=ROOT)


def wait_for_lines(path: Path, n: int) -> None:
    while not path.exists() or path.read_bytes().count(b"\n") < n:
        time.sleep(0.005)


def test_ten_kills_lose_nothing_and_change_nothing(tmp_path: Path) -> None:
    path, rng, kept = tmp_path / "killed.jsonl", np.random.default_rng(0), b""
    for _ in range(10):
        driver = run_driver(path)
        wait_for_lines(path, kept.count(b"\n") + 1)
        time.sleep(rng.uniform(0.0, 0.3))
        driver.kill()
        driver.wait()
        content = path.read_bytes()
        assert content[: kept.rfind(b"\n") + 1] == kept[: kept.rfind(b"\n") + 1]  # nothing written is lost
        kept = content[: content.rfind(b"\n") + 1]
    assert run_driver(path).wait() == 0
    whole = tmp_path / "whole.jsonl"
    strategy = NSGA2(ToySpace(4), LIMITS, OBJECTIVES, population=8)
    with Journal(whole, {"seed": 3}) as journal:
        search(strategy, InProcess(measure), journal, n_candidates=60, seed=3, on_result=ignore)
    assert path.read_bytes() == whole.read_bytes()  # none twice, the same candidates


def test_sigterm_ends_the_driver_with_75_and_a_journal_to_resume(tmp_path: Path) -> None:
    path = tmp_path / "j.jsonl"
    driver = run_driver(path)
    wait_for_lines(path, 4)
    driver.terminate()
    assert driver.wait(5) == 75
    assert len(Journal.read(path).results) >= 3
