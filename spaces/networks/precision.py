"""In what precision the passes of a search run: what ranks candidates need not be what the leaderboard reports.

bfloat16 products take half the time where the processor has them, and rank about as float32 ones do: a candidate's mAP
moves by .001 to .002. Sums stay in float32, so does all linear algebra, and so does every row of the leaderboard.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from enum import StrEnum

import torch


class Precision(StrEnum):
    """Of the convolutions of a search's forward passes."""

    FLOAT32 = "float32"
    BFLOAT16 = "bfloat16"


def native_precision() -> Precision:
    """Return the fastest precision that this machine's processor computes itself; others would emulate bfloat16."""
    capabilities: dict[str, object] = getattr(torch.cpu, "get_capabilities", dict)()  # young in torch
    is_native = any(capabilities.get(name) for name in ("avx512_bf16", "amx_bf16"))
    return Precision.BFLOAT16 if is_native else Precision.FLOAT32


@contextmanager
def products_in(precision: Precision, /) -> Iterator[None]:
    """Run convolutions and matrix products inside the block in `precision`."""
    with _autocast(is_on=precision is Precision.BFLOAT16):
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
