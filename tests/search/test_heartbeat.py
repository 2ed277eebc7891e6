import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from search.heartbeat import Address, Heartbeat, check_answers
from search.loop import interruptible
from spaces.errors import Interrupted

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        yield listening


def address_of(listening: socket.socket, patience_s: float = 0.0) -> Address:
    return Address("127.0.0.1", listening.getsockname()[1], patience_s)


def test_who_listens_answers_and_who_has_gone_does_not(listener: socket.socket) -> None:
    address = address_of(listener)
    check_answers({"it": address})
    listener.close()
    with pytest.raises(Interrupted, match=f"it at 127.0.0.1:{address.port} does not answer any more; .*run it again"):
        check_answers({"it": address})


def test_what_falls_silent_interrupts_and_what_answers_does_not(listener: socket.socket) -> None:
    heartbeat = Heartbeat({"it": address_of(listener)})
    time.sleep(1.5)
    assert heartbeat.lost is None
    started = time.monotonic()
    with pytest.raises(Interrupted), interruptible():
        listener.close()
        time.sleep(20)
    assert time.monotonic() - started < 10
    assert heartbeat.lost == "it"
    heartbeat.close()


def test_patience_is_kept(listener: socket.socket) -> None:
    heartbeat = Heartbeat({"it": address_of(listener, patience_s=60)})
    listener.close()
    time.sleep(2.5)
    assert heartbeat.lost is None
    heartbeat.close()


DEAF = """
import signal, sys
from search.heartbeat import Address, Heartbeat
signal.signal(signal.SIGINT, signal.SIG_IGN)  # as in a call that hears no signal
Heartbeat({"it": Address("127.0.0.1", int(sys.argv[1]), 0.0)}, grace_s=0.5)
import time
time.sleep(60)
"""


def test_a_process_that_hears_nothing_is_ended_with_the_line_and_75(listener: socket.socket) -> None:
    port = str(listener.getsockname()[1])
    listener.close()
    done = subprocess.run(
        [sys.executable, "-c", DEAF, port], cwd=ROOT, capture_output=True, text=True, timeout=40, check=False
    )
    line = f"it at 127.0.0.1:{port} does not answer any more; what is finished is kept; run it again to go on\n"
    assert (done.returncode, done.stderr) == (75, line)


def test_one_that_is_quiet_interrupts_nothing_any_more(listener: socket.socket) -> None:
    heartbeat = Heartbeat({"it": address_of(listener)})
    heartbeat.quiet()
    listener.close()
    time.sleep(2)
    assert heartbeat.lost is None
