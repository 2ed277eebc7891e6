"""From the name of a run to its folder."""

import re
from pathlib import Path

from spaces.errors import BadInput

JOURNAL = "journal.jsonl"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


def checked_name(value: str) -> str:
    """Return `value` if it may name a run folder; raises ValueError otherwise, without the value."""
    path = Path(value)
    is_plain = ".." not in path.parts and not value.startswith("~") and value.isprintable()
    if not is_plain or not _NAME.fullmatch(path.name):
        raise ValueError("must be a name (letters, digits, '.', '_', '-', at most 64) or a folder without '..' and '~'")
    return value


def run_folder(name: str) -> Path:
    """Return the folder of the run called `name`; a bare name lies under runs/."""
    path = Path(name)
    return Path("runs") / path if len(path.parts) == 1 else path


def read_out(name: str, /) -> Path:
    """Return the folder that `name` asks for; a bare name lies under runs/.

    Raises:
        BadInput: it is neither a name nor a folder that may be written to.
    """
    try:
        return run_folder(checked_name(name))
    except ValueError as error:
        raise BadInput(f"out: {error}, got {name!r:.60}") from error
