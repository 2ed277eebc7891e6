import errno
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from evaluators.result import Job, Measure, Result, Status
from search.executor import Executor, InProcess
from search.loop import rng_for
from search.on_ray import RayExecutor
from search.on_tune import run_trials
from search.ray_session import start, stop
from spaces.errors import BadInput, Interrupted
from tests.contracts import ExecutorContract
from tests.search import toy

pytestmark = pytest.mark.ray
ROOT = Path(__file__).resolve().parents[2]
JOBS = [Job(n, toy.ToySpace().sample(rng_for(0, n), limits={"macs_g": 20.0})) for n in range(8)]


@pytest.fixture(scope="module", autouse=True)
def local_ray() -> Iterator[None]:
    start(None, 2)
    yield
    stop()


class TestRayExecutor(ExecutorContract):
    def make(self) -> Executor:
        return RayExecutor(toy.make_measure, workers=2, deadline_s=30)


def results_of(executor: Executor, jobs: list[Job]) -> list[Result]:
    try:
        return sorted(executor.run(jobs), key=lambda result: result.number)
    finally:
        executor.close()


def test_two_workers_give_what_one_process_gives() -> None:
    executor = RayExecutor(toy.make_measure, workers=2, deadline_s=30)
    assert results_of(executor, JOBS) == list(InProcess(toy.measure).run(JOBS))


def test_our_packages_resolve_under_the_root_in_a_worker() -> None:
    (result,) = results_of(RayExecutor(toy.make_roots, workers=1, deadline_s=30), JOBS[:1])
    paths = result.error.split("|")
    assert len(paths) == 4 and all(Path(path).is_relative_to(ROOT) for path in paths)


def make_niceness() -> Measure:
    return lambda job: Result(*job, Status.DONE, {"niceness": float(os.nice(0))}, 0.0)


def test_a_worker_is_as_nice_as_its_parent() -> None:
    (result,) = results_of(RayExecutor(make_niceness, workers=1, deadline_s=30), JOBS[:1])
    assert result.readings == {"niceness": float(os.nice(0))}


def test_killed_hanging_and_raising_candidates_leave_the_others_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    executor = RayExecutor(partial(toy.make_troubled_measure, tmp_path), workers=2, deadline_s=3)
    results = results_of(executor, JOBS)
    errors = {result.number: result.error.split(":")[0] for result in results if result.status is not Status.DONE}
    assert errors == {2: "CRASH", 3: "TIMEOUT", 4: "ValueError"}
    assert results[1] == toy.measure(JOBS[1])  # its worker was killed once
    assert 2.9 < results[3].seconds < 6
    assert capsys.readouterr().out == ""


def test_error_of_make_measure_comes_through() -> None:
    with pytest.raises(ValueError, match="no such weights"):
        results_of(RayExecutor(toy.fail_to_make, workers=1, deadline_s=30), JOBS)


def make_peek(array: NDArray[np.float64]) -> Measure:
    return lambda job: Result(*job, Status.DONE, {"first": float(array[0]), "own": float(array.flags.writeable)}, 0.0)


def test_heavy_arrays_are_shared_not_copied() -> None:
    make = partial(make_peek, np.full(1_000_000, 7.0))
    (result,) = results_of(RayExecutor(make, workers=1, deadline_s=30), JOBS[:1])
    assert result.readings == {"first": 7.0, "own": 0.0}  # read-only memory of the object store


def test_more_workers_than_the_cluster_has_are_refused() -> None:
    with pytest.raises(BadInput, match="need 3 CPUs, this Ray has 2"):
        RayExecutor(toy.make_measure, workers=3, deadline_s=30)
    with pytest.raises(BadInput, match="GPU"):
        RayExecutor(toy.make_measure, workers=1, deadline_s=30, gpus=100)


def task(scars: Path, name: str, report: Callable[[Mapping[str, float]], None]) -> None:
    report({"epoch": 1.0})
    scar = scars / name
    is_first = not scar.exists()
    scar.write_text("")
    if name == "bad":
        raise ValueError("bad for ever")
    if name == "flaky" and is_first:
        os.kill(os.getpid(), 9)
    report({"epoch": 2.0})


def test_one_bad_trial_leaves_the_others_alone(tmp_path: Path) -> None:
    reports: list[tuple[str, float]] = []
    errors = run_trials(
        partial(task, tmp_path),
        ["good", "bad", "flaky"],
        workers=2,
        storage=tmp_path / "tune_files",
        on_report=lambda name, readings: reports.append((name, readings["epoch"])),
    )
    assert errors == {"good": "", "bad": "ValueError: bad for ever", "flaky": ""}
    assert {("good", 1.0), ("good", 2.0), ("flaky", 2.0)} <= set(reports)


def fill(_name: str, _report: Callable[[Mapping[str, float]], None]) -> None:
    raise OSError(errno.ENOSPC, "No space left on device", "/tmp/model.pt")


def test_a_trial_for_which_there_is_no_room_ends_the_run_and_is_no_failed_row(tmp_path: Path) -> None:
    with pytest.raises(Interrupted, match=r"disk full: a: OSError.*model\.pt.*run it again"):
        run_trials(fill, ["a"], workers=1, storage=tmp_path, on_report=lambda *_: None)


def test_address_that_does_not_answer_is_bad_input() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    started = time.monotonic()
    with pytest.raises(BadInput, match=f"127.0.0.1:{port} cannot be used"):
        start(f"127.0.0.1:{port}", 1)
    assert time.monotonic() - started < 30


INTERRUPTED = """
import os, signal, sys, threading
from functools import partial
from pathlib import Path
from search.loop import interruptible
from search.on_ray import RayExecutor
from search.on_tune import run_trials
from search.ray_session import start, stop
from evaluators.result import Job
from spaces.candidate import Candidate
from spaces.errors import Interrupted
from tests.search import toy
from tests.search.test_on_ray import sleep
start(None, 1)
try:
    with interruptible():
        threading.Timer(5, os.kill, (os.getpid(), signal.SIGTERM)).start()
        if sys.argv[1] == "actors":
            executor = RayExecutor(partial(toy.make_slow_measure, 600.0), workers=1, deadline_s=900)
            list(executor.run([Job(0, Candidate("same", (("g0", 1),)))]))
        else:
            run_trials(sleep, ["a"], workers=1, storage=Path(sys.argv[2]), on_report=print)
except Interrupted as error:
    stop()
    sys.exit(error.exit_code)
"""


def sleep(_name: str, _report: Callable[[Mapping[str, float]], None]) -> None:
    time.sleep(600)


WHERE = ("actors", "trials")


@pytest.fixture(scope="module")
def interrupted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, subprocess.Popen[bytes]]]:
    """Yield the runs that get their SIGTERM, both at once: they mostly wait."""
    runs = {}
    for where in WHERE:
        words = [sys.executable, "-c", INTERRUPTED, where, str(tmp_path_factory.mktemp(where))]
        runs[where] = subprocess.Popen(words, cwd=ROOT, stdout=subprocess.PIPE)
    yield runs
    for run in runs.values():
        run.kill()
        run.wait()


@pytest.mark.parametrize("where", WHERE)
def test_sigterm_during_ray_work_exits_with_75_and_says_nothing_on_stdout(
    where: str, interrupted: dict[str, subprocess.Popen[bytes]]
) -> None:
    stdout, _ = interrupted[where].communicate(timeout=120)
    assert (interrupted[where].returncode, stdout) == (75, b"")
