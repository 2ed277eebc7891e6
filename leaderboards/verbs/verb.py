"""A verb of the command line: what it is, what its words must be, and what does it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from rich.console import Console

FolderOf = Callable[[Sequence[str]], Path | None]


class Do(Protocol):
    """What does a verb."""

    def __call__(self, words: Sequence[str], console: Console, is_json: bool, /) -> None:
        """Do what `words` ask for; they were checked before."""
        ...


@dataclass(frozen=True)
class Verb:
    """One verb.

    Attributes:
        usage: how it is written.
        summary: what it does, in one line.
        check: raises BadInput where its words are none, before anything heavy is imported.
        folder: returns the run folder that its words name, None if they name none; they were checked before.
        explain: returns what its words may be, for `VERB --help`.
        do: its `Do`, as "module:function", imported after the check.
    """

    name: str
    usage: str
    summary: str
    check: Callable[[Sequence[str]], None]
    folder: FolderOf
    explain: Callable[[Sequence[str]], str]
    do: str
