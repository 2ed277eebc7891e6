"""Ray that does not start, that is none, and that is killed while it is used."""

import errno
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from search import ray_session
from spaces.errors import BadInput, Interrupted

pytestmark = pytest.mark.ray
ROOT = Path(__file__).resolve().parents[2]

KILLED = """
import os, signal, sys, threading
from functools import partial
from pathlib import Path
import ray
from evaluators.result import Job
from search.loop import interruptible, rng_for
from search.on_ray import RayExecutor
from search.on_tune import run_trials
from search.ray_session import running
from spaces.errors import UserError
from tests.search import toy
from tests.search.test_on_ray import sleep
try:
    with interruptible(), running(None, 1):
        process = ray._private.worker._global_node.all_processes[sys.argv[1]][0].process.pid
        threading.Timer(4, os.kill, (process, signal.SIGKILL)).start()
        if sys.argv[2] == "actors":
            executor = RayExecutor(partial(toy.make_slow_measure, 0.5), workers=1, deadline_s=30)
            jobs = [Job(n, toy.ToySpace().sample(rng_for(0, n), limits={"macs_g": 20.0})) for n in range(300)]
            list(executor.run(jobs))
        else:
            run_trials(sleep, ["a"], workers=1, storage=Path(sys.argv[3]), on_report=print)
except UserError as error:
    sys.stderr.write(f"{error}\\n")
    sys.exit(error.exit_code)
"""
KILLS = [("gcs_server", "actors"), ("gcs_server", "trials"), ("raylet", "actors"), ("raylet", "trials")]
CALLED = {"gcs_server": "Ray's head", "raylet": "Ray's node"}


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[tuple[str, str], subprocess.Popen[str]]]:
    """Yield the runs whose Ray loses a process, all at once: they mostly wait."""
    runs = {}
    for kill in KILLS:
        words = [sys.executable, "-c", KILLED, *kill, str(tmp_path_factory.mktemp("-".join(kill)))]
        runs[kill] = subprocess.Popen(words, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    yield runs
    for run in runs.values():
        run.kill()
        run.wait()


@pytest.mark.parametrize("kill", KILLS)
def test_a_ray_that_is_killed_ends_the_run_with_a_line_and_75(
    kill: tuple[str, str], killed: dict[tuple[str, str], "subprocess.Popen[str]"]
) -> None:
    stdout, stderr = killed[kill].communicate(timeout=150)
    assert (killed[kill].returncode, stdout) == (75, "")
    assert stderr.startswith(CALLED[kill[0]])
    assert stderr.endswith("does not answer any more; what is finished is kept; run it again to go on\n")
    assert stderr.count("\n") == 1


class Connecting:
    """In the place of Ray's `init`: fails as often as it is told, and counts."""

    def __init__(self, *errors: Exception) -> None:
        self.errors, self.n = list(errors), 0

    def __call__(self, *_: object, **__: object) -> None:
        self.n += 1
        if self.errors:
            raise self.errors.pop(0)


def test_what_fails_once_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    connecting = Connecting(Exception("The current node timed out during startup."))
    monkeypatch.setattr("ray.init", connecting)
    ray_session.start(None, 1)
    assert connecting.n == 2


@pytest.mark.parametrize(
    "error",
    [
        Exception("The current node timed out during startup."),
        RuntimeError("Failed to start GCS."),
        TimeoutError("timed out"),
        ConnectionError("no head"),
        ValueError("Can't find a node_ip_address.json file"),
    ],
)
def test_what_fails_twice_is_said_in_a_line_of_code_75(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    connecting = Connecting(error, error, error)
    monkeypatch.setattr("ray.init", connecting)
    with pytest.raises(Interrupted, match=r"Ray did not start, tried twice: .*run it again") as raised:
        ray_session.start(None, 1)
    assert connecting.n == 2
    assert str(error) in str(raised.value)


def test_a_folder_that_ray_cannot_write_to_is_said_as_every_other(monkeypatch: pytest.MonkeyPatch) -> None:
    errors = [OSError(errno.ENOSPC, "No space left on device", "/tmp/ray") for _ in range(2)]
    monkeypatch.setattr("ray.init", Connecting(*errors))
    with pytest.raises(OSError, match="No space left on device: '/tmp/ray'"):
        ray_session.start(None, 1)


@pytest.mark.parametrize("address", ["abc", "auto", "head:x", "127.0.0.1:99999", ":1", "h:1:", "127.0.0.1:²"])
def test_an_address_that_is_none_is_refused_by_its_form(address: str) -> None:
    with pytest.raises(BadInput, match="ray_address must be HOST:PORT"):
        ray_session.start(address, 1)


@pytest.mark.parametrize("host", ["é", "a" * 300, "nowhere.invalid", "127.0.0.1"])
def test_a_host_that_nobody_is_at_is_named_quickly(host: str) -> None:
    started = time.monotonic()
    with pytest.raises(BadInput, match=r"ray_address=.* cannot be used"):
        ray_session.start(f"{host}:1", 1)
    assert time.monotonic() - started < 30


def test_what_listens_and_is_no_ray_is_left_after_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray_session, "PROBE_S", 2.0)
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        with pytest.raises(BadInput, match="what listens there is no Ray, or takes over 2 s"):
            ray_session.start(f"127.0.0.1:{listening.getsockname()[1]}", 1)


def test_a_ray_of_another_address_in_the_environment_is_not_joined(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:1")
    with ray_session.running(None, 1):
        ray_session.check_alive()
    assert os.environ["RAY_ADDRESS"] == "127.0.0.1:1"
