"""Whether what a run stands on still answers.

Only sockets: a port that refuses means that its process is gone, however busy the machine is.
"""

import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import NamedTuple

from spaces.errors import Interrupted
from spaces.files import RESUMED

EVERY_S = 1.0
ANSWER_S = 10.0  # for a connection, over a slow network too
GRACE_S = 20.0  # from the signal to the end of the process


class Address(NamedTuple):
    """Where something listens, and how long it may be silent."""

    host: str
    port: int
    patience_s: float

    def answers(self) -> bool:
        """Return whether somebody takes a connection there."""
        try:
            socket.create_connection((self.host, self.port), timeout=ANSWER_S).close()
        except OSError:
            return False
        return True


class Heartbeat:
    """Interrupts this process, as Ctrl-C does, once one of the addresses has been silent for its patience.

    If that does not end it, as in a call of a library that hears no signal, the process is ended as it is: with the
    line and the exit code of a run that can be gone on with.

    Args:
        addresses: what listens where, by the names that messages give it.
    """

    def __init__(self, addresses: Mapping[str, Address], *, grace_s: float = GRACE_S) -> None:
        self.lost: str | None = None
        self._addresses, self._grace_s = addresses, grace_s
        self._is_quiet, self._is_closed = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._watch, name="heartbeat", daemon=True)
        self._thread.start()

    def quiet(self) -> None:
        """Interrupt nothing any more; what is interrupted already is still ended after its grace."""
        self._is_quiet.set()

    def close(self) -> None:
        """Stop watching."""
        self._is_quiet.set()
        self._is_closed.set()

    def _watch(self) -> None:
        heard = {name: time.monotonic() for name in self._addresses}
        while self.lost is None and not self._is_quiet.wait(EVERY_S):
            for name, address in self._addresses.items():
                if address.answers():
                    heard[name] = time.monotonic()
                elif time.monotonic() - heard[name] >= address.patience_s:
                    self.lost = name
        if self.lost is None or self._is_quiet.is_set():
            return
        os.kill(os.getpid(), signal.SIGINT)
        if not self._is_closed.wait(self._grace_s):
            with suppress(OSError, ValueError, AttributeError):  # who has closed stderr hears nothing
                sys.stderr.write(f"{lost_line(self.lost, self._addresses[self.lost])}\n")
                sys.stderr.flush()
            os._exit(Interrupted.exit_code)


def lost_line(name: str, address: Address, /) -> str:
    """Return what is said when `name` at `address` is gone."""
    return f"{name} at {address.host}:{address.port} does not answer any more; {RESUMED}"


def check_answers(addresses: Mapping[str, Address], /) -> None:
    """Make sure that each of `addresses` answers now.

    Raises:
        Interrupted: one does not.
    """
    for name, address in addresses.items():
        if not address.answers():
            raise Interrupted(lost_line(name, address))
