"""Libraries that write to standard output whatever they are told, where a program's own output belongs."""

import ctypes
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def silent_stdout() -> Iterator[None]:
    """Lose what C code writes to standard output inside the block: HiGHS 1.8 reports some of its steps with printf.

    What Python writes from other threads meanwhile is lost, too.
    """
    buffered = ctypes.CDLL(None)  # C's own buffer, which may hold lines of before and is written out late
    sys.stdout.flush()
    buffered.fflush(None)
    kept, nowhere = os.dup(1), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 1)
        yield
        buffered.fflush(None)
    finally:
        os.dup2(kept, 1)
        os.close(kept)
        os.close(nowhere)
