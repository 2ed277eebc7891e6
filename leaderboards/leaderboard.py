"""The leaderboard: the entries ranked under the limits, the front among them, and their table of numbers.

Rows within the limits come first. A row whose exact file is too slow or too large may still meet them as another; it is
then ranked by the mAP of that file, because that is what the user gets. So the first row is what `select` picks,
unless the parent itself meets the limits and is better.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd

from evaluators.metric import Metric
from evaluators.proxies.by_name import METRICS
from leaderboards.choice import Choice, choices, choose
from leaderboards.columns import all_columns, called, detection, numbers
from leaderboards.entry import PARENT, REFERENCE, Entry
from leaderboards.wording import one_line
from search.pareto import is_front
from spaces.errors import BadInput
from spaces.files import write_atomic

LIMITS = ("macs_g", "gflops", "params_m", "size_mb", "bops_g", "latency_ms")
FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")


@dataclass(frozen=True)
class Leaderboard:
    """The parent and its fine-tuned candidates under the limits.

    Attributes:
        entries: exactly one has the id "parent"; the order does not matter.
        limits: upper limits by name, among macs_g, gflops, params_m, size_mb (MB), bops_g and latency_ms.
        is_labelled: whether labels judged them; else mAP is that of their agreement with what the parent finds.

    Raises:
        BadInput: no parent or more than one, an id that occurs twice, or a limit of another name.
    """

    entries: Sequence[Entry]
    limits: Mapping[str, float]
    is_labelled: bool = True

    def __post_init__(self) -> None:
        ids = [entry.id for entry in self.entries]
        if ids.count(PARENT) != 1 or len(set(ids)) < len(ids):
            raise BadInput(f"a leaderboard must have one entry {PARENT!r} and distinct ids, got {ids}")
        if unknown := sorted(set(self.limits) - set(LIMITS)):
            raise BadInput(f"limits must be among {', '.join(LIMITS)}, got {', '.join(unknown)}")

    @cached_property
    def parent(self) -> Entry:
        """The unpruned detector."""
        return next(entry for entry in self.entries if entry.id == PARENT)

    @property
    def measure(self) -> str:
        """What the entries are compared by, as tables call it."""
        return "mAP50-95" if self.is_labelled else "agreement"

    @property
    def proxy(self) -> Metric:
        """What the search ranked by."""
        return METRICS[self.parent.proxy_name]

    @cached_property
    def rows(self) -> tuple[Entry, ...]:
        """The candidates: those within the limits first, then by mAP descending, failed ones last; ties: fewer MACs."""
        return tuple(sorted((entry for entry in self.entries if entry is not self.parent), key=self._place))

    @property
    def references(self) -> tuple[Entry, ...]:
        """The measured rows that no search has found: what the others must beat."""
        return tuple(entry for entry in self.rows if entry.strategy == REFERENCE and entry.quality is not None)

    def front(self) -> frozenset[str]:
        """The ids of the entries, the parent among them, that no other one dominates.

        Compared are the mAP of the fp32 file (of a row with bits, of its INT8 file), its GFLOPs, and each limited cost.
        """
        measured = [entry for entry in self.entries if entry.quality is not None]
        if not measured:
            return frozenset()
        flags = is_front(np.array([self._losses(entry) for entry in measured], np.float64))
        return frozenset(entry.id for entry, flag in zip(measured, flags, strict=True) if flag)

    def beaten_by(self, entry: Entry, /) -> str:
        """Return the id of a reference that dominates `entry`, compared as on the front; nothing if none does."""
        if entry.quality is None:
            return ""
        own = self._losses(entry)
        return next((other.id for other in self.references if _dominates(self._losses(other), own)), "")

    def choice(self, entry: Entry) -> Choice | None:
        """Return the file of `entry` that meets the limits, the one that it stands for first; None if none does."""
        return choose(entry, self.limits)

    def frame(self) -> pd.DataFrame:
        """Return the table: the parent first, then `rows`; what was not measured is missing."""
        front = self.front()
        records = [{**self._record(entry), "on_front": entry.id in front} for entry in (self.parent, *self.rows)]
        columns = all_columns(entry.quality for entry in self.entries if entry.quality is not None)
        return pd.DataFrame.from_records(records, columns=columns)

    def write_csv(self, path: Path) -> None:
        """Write `frame` to `path` in one step; text that a spreadsheet would run as a formula gets a leading '."""
        frame = self.frame().map(guarded)
        write_atomic(path, frame.to_csv(index=False, float_format="%.6g", lineterminator="\n"))

    def _losses(self, entry: Entry) -> list[float]:
        """Return minus the mAP and each cost of the file that a measured entry stands for."""
        costs = ["gflops", *sorted(set(self.limits) - {"gflops", "macs_g"})]
        choice = choices(entry)[0]
        return [-choice.map50_95, *(choice.readings[cost] for cost in costs)]

    def _place(self, entry: Entry) -> tuple[int, float, float, str]:
        if entry.quality is None:
            return (2, 0.0, 0.0, entry.id)
        choice = self.choice(entry)
        score = entry.quality.map50_95 if choice is None else choice.map50_95
        return (int(choice is None), -score, entry.quality.gflops, entry.id)

    def _record(self, entry: Entry) -> dict[str, object]:
        """Return one row of the frame; names without a value are left out."""
        choice, quality, parent = self.choice(entry), entry.quality, self.parent.quality
        named = ("id", "strategy", "proxy", "proxy_name", "imgsz", "seed", "epochs", "seconds")
        record: dict[str, object] = {name: getattr(entry, name) for name in named}
        record |= {"base": entry.candidate.base, "status": entry.status.value, "error": one_line(entry.error)}
        record |= {"within_budget": choice is not None, "meets_as": "" if choice is None else called(choice.file)}
        record["beaten_by"] = self.beaten_by(entry)
        if quality is not None:
            record |= {**numbers(quality), **detection(quality, parent)}
        if quality is not None and parent is not None:
            record |= {"map_loss": parent.map50_95 - quality.map50_95, "macs_kept": quality.gflops / parent.gflops}
        return record


def _dominates(first: Sequence[float], second: Sequence[float]) -> bool:
    """Return whether `first` loses nowhere more than `second`, and somewhere less."""
    return list(first) != list(second) and all(mine <= other for mine, other in zip(first, second, strict=True))


def guarded(cell: object) -> object:
    """Return `cell`, with a leading ' if a spreadsheet would run it as a formula."""
    return f"'{cell}" if isinstance(cell, str) and cell.startswith(FORMULA_STARTS) else cell
