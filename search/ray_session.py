"""A Ray for a run: started here or joined, watched while it is used, and given back.

Ray ends the process that uses it, with a line of its own and exit code 1, a minute after its head has died; and waits
for ever for a cluster that is none. So its addresses are tried before, and watched meanwhile.
"""

import logging
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import NoReturn

import ray
from ray.exceptions import RayError, RayTaskError

from search.heartbeat import Address, Heartbeat, check_answers, lost_line
from spaces.errors import BadInput, Interrupted
from spaces.files import RESUMED, refusal

ROOT = Path(__file__).resolve().parents[1]
LOCAL_PATIENCE_S, HEAD_PATIENCE_S = 3.0, 40.0  # the head of a cluster may be started anew; Ray gives it 60
CLUSTER_S, PROBE_S = 10.0, 30.0  # for a cluster to take a connection, and to answer as a Ray
QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_AIR_NEW_OUTPUT": "0",
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_DISABLE_SIGINT_HANDLER": "1",  # Ctrl-C ends the run, as it does everywhere else
}
NOT_SHIPPED = ["/runs", "/datasets", "/build", "/.git", "/.venv", "*.pt", "*.onnx"]


@contextmanager
def running(address: str | None, workers: int) -> Iterator[None]:
    """Have a Ray as `start` makes it inside the block; where it dies in there, so does what runs on it, at once.

    Raises:
        BadInput: as in `start`.
        Interrupted: as in `start`, or Ray does not answer any more.
    """
    start(address, workers)
    heartbeat = Heartbeat(_addresses(is_local=address is None))
    try:
        yield
    except KeyboardInterrupt:
        if heartbeat.lost is not None:
            raise Interrupted(lost_line(heartbeat.lost, _addresses(is_local=True)[heartbeat.lost])) from None
        raise
    except RayError as error:
        raise Interrupted(f"Ray failed: {text_of(error)}; {RESUMED}") from error
    finally:
        heartbeat.quiet()
        stop()
        heartbeat.close()


def start(address: str | None, workers: int) -> None:
    """Start a Ray of `workers` CPUs on this machine, or join the cluster at `address`; our folders come along.

    The workers of a local Ray run at the niceness of this process, those of a cluster at what the cluster gives them.
    What does not start is tried once more: on a busy machine Ray's own time limits are short.

    Raises:
        BadInput: the cluster does not answer, or runs another version of Ray or Python.
        Interrupted: Ray does not start on this machine.
    """
    os.environ.update(QUIET)
    if address is not None:
        _check_cluster(address)
    for is_last in (False, True):
        try:
            _connect(address, workers)
            break
        except Exception as error:  # whatever Ray raises: it has a bare Exception for some of its time limits
            with suppress(Exception):
                ray.shutdown()
            if is_last and address is not None:
                raise BadInput(f"ray_address={address} cannot be used: {text_of(error)}") from error
            if is_last:
                _refuse(error)
    ray._private.worker._worker_logs_enabled = False  # else each death of a worker is told on stdout


def stop() -> None:
    """End the local Ray with all its processes, or leave the cluster."""
    ray.shutdown()


def check_alive() -> None:
    """Make sure that Ray itself is still there, after something has failed on it.

    Raises:
        Interrupted: it is not.
    """
    check_answers(_addresses(is_local=True))


def _connect(address: str | None, workers: int) -> None:
    connect = partial(ray.init, log_to_driver=False, logging_level=logging.ERROR)
    handler = signal.getsignal(signal.SIGTERM)
    try:
        if address is None:
            variables = {**QUIET, "PYTHONPATH": str(ROOT)}
            connect(
                "local",  # whatever RAY_ADDRESS says
                num_cpus=workers,
                include_dashboard=False,
                runtime_env={"env_vars": variables},
                _system_config={"worker_niceness": 0},  # on top of ours: at Ray's own 15 they starve on a busy machine
            )
        else:
            shipped = {"working_dir": str(ROOT), "excludes": NOT_SHIPPED}
            connect(address, runtime_env={"env_vars": QUIET, **shipped})
    except SystemExit as error:  # by Ray's own handler of SIGTERM
        raise KeyboardInterrupt(signal.SIGTERM.name) from error
    finally:
        signal.signal(signal.SIGTERM, handler)


def _refuse(error: Exception) -> NoReturn:
    """Say why Ray does not start on this machine; what the system refuses is said as everywhere."""
    if isinstance(error, OSError) and refusal(error):
        raise error
    raise Interrupted(
        f"Ray did not start, tried twice: {text_of(error)}; end what fills this machine or use fewer workers: {RESUMED}"
    ) from error


def _addresses(*, is_local: bool) -> dict[str, Address]:
    """Return where the processes listen that this Ray cannot be without; a client of a cluster has none of its own."""
    node = ray._private.worker._global_node
    if node is None:
        return {}
    host, _, port = node.gcs_address.rpartition(":")
    return {
        "Ray's head": Address(host, int(port), LOCAL_PATIENCE_S if is_local else HEAD_PATIENCE_S),
        "Ray's node": Address(node.node_ip_address, int(node.node_manager_port), LOCAL_PATIENCE_S),
    }


def text_of(error: BaseException) -> str:
    """Return "ErrorType: text" of a task's own error, "CRASH: ..." with the gist of Ray's story of any other."""
    if isinstance(error, RayTaskError):
        return f"{type(error.cause).__name__}: {error.cause}"
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
    return f"CRASH: {lines[0]}" if len(lines) == 1 else f"CRASH: {lines[0]} {lines[-1]:.200}"


def _check_cluster(address: str) -> None:
    """Make sure that a Ray answers at `address`: Ray itself waits for minutes, or for ever, for one that does not."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not (host and port.isdecimal() and int(port) < 2**16):
        raise BadInput(f"ray_address must be HOST:PORT, as in head:6379, got {address!r:.80}")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=CLUSTER_S).close()
    except (OSError, UnicodeError) as error:
        raise BadInput(f"ray_address={address:.80} cannot be used: {error}") from error
    if not address.startswith("ray://"):
        asked = [sys.executable, "-m", "ray.scripts.scripts", "health-check", "--skip-version-check"]
        try:
            subprocess.run([*asked, "--address", address], capture_output=True, timeout=PROBE_S, check=False)  # noqa: S603
        except subprocess.TimeoutExpired:
            raise BadInput(
                f"ray_address={address:.80} cannot be used: what listens there is no Ray, or takes over {PROBE_S:g} s"
            ) from None
