"""What trackers write to, all the same way; each library's own way is behind it."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol


class Store(Protocol):
    """One run in a tracker's store."""

    def write_settings(self, settings: Mapping[str, object], /) -> None:
        """Write what the run was asked to do."""
        ...

    def write_numbers(self, group: str, numbers: Mapping[str, float], /, *, step: int | None) -> None:
        """Write `numbers` as "group/name", at `step` of a series, or as final ones if it is None."""
        ...

    def write_text(self, name: str, text: str, /) -> None:
        """Write one line of text."""
        ...

    def finish(self, files: Sequence[Path], /) -> None:
        """Write `files`, where the store takes files, and end the run."""
        ...


def setting_text(value: object, /) -> str:
    """Return a setting as it is written on the command line."""
    return ",".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
