"""The best model under the limits, or the nearest miss."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from evaluators.budget import Budget
from leaderboards.choice import Choice, choices
from leaderboards.columns import called
from leaderboards.entry import Entry
from leaderboards.leaderboard import Leaderboard
from leaderboards.recipes.keys import LIMITS, read_amount
from leaderboards.recipes.reading import read_pairs
from leaderboards.wording import number, one_line, percent
from spaces.errors import BadInput, NothingFeasible


def select(board: Leaderboard, limits: Mapping[str, float]) -> Choice:
    """Return the file with the highest mAP within `limits`, the parent's too; of a row the first that meets them.

    Raises:
        NothingFeasible: no file meets all limits; the message names the nearest one, and for each limit the nearest
            value and by how much it misses.
        BadInput: a limit of an unknown name.
    """
    ranked = Leaderboard(board.entries, limits, board.is_labelled)
    feasible = [choice for entry in (*ranked.rows, ranked.parent) if (choice := ranked.choice(entry))]
    if not feasible:
        raise NothingFeasible(_nearest_miss(ranked))
    return max(feasible, key=lambda choice: choice.map50_95)  # ties: the first, a candidate before the parent


class _Miss(NamedTuple):
    """A value beside its limit."""

    name: str
    value: float
    limit: float

    def __str__(self) -> str:
        over = self.value / self.limit - 1
        return f"{self.name} {number(self.value)}, " + ("met" if over <= 0 else f"{_percent_over(over)} over")


def _percent_over(excess: float) -> str:
    """Return a positive `excess` over 1 in percent, never rounded down to nothing."""
    return percent(excess) if excess >= 0.01 else f"{100 * excess:.2g} %"


def _nearest_miss(board: Leaderboard) -> str:
    files = [choice for entry in (*board.rows, board.parent) for choice in choices(entry)]
    asked = " and ".join(f"{name} <= {limit:g}" for name, limit in board.limits.items())
    if not files:
        first = one_line((board.rows or (board.parent,))[0].error, width=200)
        return f"no row meets {asked or 'the limits'}: not one was measured; the first error is: {first}"
    nearest = min(files, key=lambda choice: Budget(board.limits).excess(choice.readings))
    return (
        f"no row meets {asked}; the nearest is {nearest.entry.id} ({called(nearest.file)}): "
        f"{_misses(board.limits, nearest)}; each limit alone: {_alone(board.limits, files)}"
    )


def _misses(limits: Mapping[str, float], choice: Choice) -> str:
    return "; ".join(str(_Miss(name, choice.readings[name], limit)) for name, limit in limits.items())


def _alone(limits: Mapping[str, float], files: Sequence[Choice]) -> str:
    """Return for each limit the file that comes nearest to it, whatever its other costs."""
    lowest = {name: min(files, key=lambda choice: choice.readings[name]) for name in limits}
    return "; ".join(
        f"{_Miss(name, choice.readings[name], limits[name])} ({choice.entry.id}, {called(choice.file)})"
        for name, choice in lowest.items()
    )


def read_limits(words: Sequence[str], parent: Entry) -> dict[str, float]:
    """Return the limits among `key=value` words; percentages are of the parent's measured row.

    Raises:
        BadInput: a word that is no limit.
    """
    limits = {}
    for key, value in read_pairs(words, allowed=LIMITS).items():
        try:
            amount = read_amount(value)
        except ValueError as error:
            raise BadInput(f"{key}: {error}, got {value!r:.60}") from error
        if parent.quality is None:
            raise BadInput(f"{key}: the parent's row failed, so there is nothing to take a percentage of")
        whole = parent.quality.readings()[key]
        limits[key] = whole * float(amount[:-1]) / 100 if amount.endswith("%") else float(amount)
    return limits
