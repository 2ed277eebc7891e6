"""Who is told how a run goes; the run knows nothing of terminals."""

from collections.abc import Mapping
from typing import Protocol

from evaluators.result import Result


class Watcher(Protocol):
    """Who is told how the run goes."""

    def stage(self, text: str) -> None:
        """A new stage begins."""
        ...

    def on_result(self, result: Result) -> None:
        """A candidate was measured."""
        ...

    def on_epoch(self, name: str, readings: Mapping[str, float]) -> None:
        """A row finished an epoch of fine-tuning."""
        ...
