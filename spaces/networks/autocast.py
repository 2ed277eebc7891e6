"""Passes of a search in another dtype: what ranks candidates need not be what the leaderboard reports.

bfloat16 products take half the time where the processor has them, and rank about as float32 ones do: a candidate's mAP
moves by .001 to .002. Sums stay in float32, so does all linear algebra, and so does every row of the leaderboard.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import torch

from spaces.networks.compute_dtype import ComputeDtype


@contextmanager
def products_in(dtype: ComputeDtype, /) -> Iterator[None]:
    """Run convolutions and matrix products inside the block in `dtype`."""
    with _autocast(is_on=dtype is ComputeDtype.BFLOAT16):
        yield


@contextmanager
def exact_products() -> Iterator[None]:
    """Run everything inside the block as its tensors say, whatever `products_in` is around it."""
    with _autocast(is_on=False):
        yield


@contextmanager
def _autocast(*, is_on: bool) -> Iterator[None]:
    with ExitStack() as stack:
        for kind in ("cpu", "cuda") if torch.cuda.is_available() else ("cpu",):
            stack.enter_context(torch.autocast(kind, torch.bfloat16, enabled=is_on))
        yield
