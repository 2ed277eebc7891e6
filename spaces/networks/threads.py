"""How many threads torch uses."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def one_thread() -> Iterator[None]:
    """Let torch use one thread, as each worker of a search does.

    Many small products gain nothing by more and lose much on a busy machine (a study took 69 s on two threads and 9 on
    one); nor do the last digits then depend on the number of cores, from which other choices could follow.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
