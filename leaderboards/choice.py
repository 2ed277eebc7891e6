"""Which file of an entry meets the limits: the first that does, and the exact one comes first."""

from collections.abc import Mapping
from typing import NamedTuple

from evaluators.budget import Budget
from leaderboards.entry import DeployedFile, Entry


class Choice(NamedTuple):
    """One file of one measured entry.

    Attributes:
        readings: what this file costs, by the names that limits use.
    """

    entry: Entry
    file: DeployedFile
    readings: Mapping[str, float]

    @property
    def map50_95(self) -> float:
        """That of this file on the sealed val split, in [0, 1]."""
        return self.file.map50_95


def choices(entry: Entry) -> tuple[Choice, ...]:
    """Return the files of `entry`, the one that it stands for first; none if it failed."""
    quality = entry.quality
    if quality is None:
        return ()
    return tuple(Choice(entry, file, quality.readings(file)) for file in quality.files)


def choose(entry: Entry, limits: Mapping[str, float]) -> Choice | None:
    """Return the first file of `entry` that meets all of `limits`; None if none does."""
    budget = Budget(limits)
    return next((choice for choice in choices(entry) if not budget.violations(choice.readings)), None)
