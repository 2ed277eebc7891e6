"""Numbers and foreign text as they are printed, the same in the terminal, in Markdown and in HTML."""

import math
from collections.abc import Iterable

MISSING = "-"


def decimals(values: Iterable[float]) -> int:
    """Return how many decimals show three significant digits of the largest of `values`, 0 to 3."""
    largest = max((abs(value) for value in values), default=0.0)
    return 2 if largest == 0 else min(max(2 - math.floor(math.log10(largest)), 0), 3)


def number(value: float) -> str:
    """Return `value` with three significant digits, never in scientific notation down to 0.001."""
    return f"{value:.{decimals([value])}f}"


def percent(share: float) -> str:
    """Return `share` of 1 as whole percent."""
    return f"{100 * share:.0f} %"


def one_line(text: str, *, width: int = 400) -> str:
    """Return `text` on one line of at most `width` characters, without control characters."""
    clean = " ".join("".join(letter if letter.isprintable() else " " for letter in text).split())
    return clean if len(clean) <= width else f"{clean[: max(width - 3, 0)]}..."[:width]
