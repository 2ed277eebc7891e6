"""What a tracker is told of a run before it begins, and how the trackers of a run are opened."""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from pkgutil import resolve_name
from typing import Protocol

from leaderboards.trackers.by_name import TRACKERS, TrackerRecord, check_installed
from leaderboards.trackers.guarded import PATIENCE, Guarded
from leaderboards.watcher import Watcher


@dataclass(frozen=True)
class RunFacts:
    """One run, as trackers are told of it.

    Attributes:
        settings: every key and its value, as the run folder keeps them.
        n_failed: candidates that failed in an earlier call of the same run.
    """

    name: str
    folder: Path
    settings: Mapping[str, object]
    n_failed: int = 0


class MakeTracker(Protocol):
    """Opens a tracker's store for a run, or opens it again where an earlier call of the run has begun one."""

    def __call__(self, facts: RunFacts, /) -> Watcher:
        """Return what writes to the store whatever it hears."""
        ...


def follow(
    names: Sequence[str], facts: RunFacts, *, say: Callable[[str], None], patience: float = PATIENCE
) -> list[Watcher]:
    """Return a watcher for each tracker, which is opened meanwhile and never stops or slows the run.

    Args:
        say: is told one line for each thing that goes wrong, from any thread.
        patience: seconds that each is waited for at the end.

    Raises:
        BadInput: what a tracker needs is not installed.
    """
    for name in names:
        check_installed(name)
    for row in (TRACKERS[name] for name in names):  # before threads read it, and where the user has set nothing
        os.environ.update({key: os.environ.get(key, value) for key, value in row.environment.items()})
    return [Guarded(name, partial(_open, TRACKERS[name], facts), say=say, patience=patience) for name in names]


def _open(row: TrackerRecord, facts: RunFacts) -> Watcher:
    make: MakeTracker = resolve_name(row.tracker)
    return make(facts)
