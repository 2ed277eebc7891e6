"""How the program ends when something goes wrong: in one line, whatever it is, with its exit code."""

import os
import tempfile
import traceback
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from leaderboards.run_path import JOURNAL
from leaderboards.verbs.verb import FolderOf
from leaderboards.wording import one_line
from spaces.errors import BadInput, InternalError, Interrupted, UserError
from spaces.files import RESUMED, refusal, tells_of_full_disk

FILE = "internal_error.txt"
WIDTH = 300  # characters of an error's own text
_NO_MEMORY = ("can't allocate memory", "cannot allocate memory", "std::bad_alloc", "not enough memory")


def explained(error: Exception, words: Sequence[str], folder_of: FolderOf, /) -> UserError:
    """Return what `error` comes to for whoever ran the command `words`: one line and an exit code.

    What nobody foresaw is a fault of ours: its traceback is written to a file, in the run folder if there is a run.

    Args:
        folder_of: returns the run folder that `words` name, if they do.
    """
    if isinstance(error, UserError):
        return error
    text = one_line(f"{error}", width=WIDTH)
    if isinstance(error, OSError) and (told := refusal(error)):
        return told
    if isinstance(error, ValueError) and text.startswith("embedded null"):  # of a path, which a config may give
        return BadInput("a path must not hold a null byte")
    if tells_of_full_disk(text):  # of a library that has exceptions of its own
        return Interrupted(f"disk full: {text}; make room: {RESUMED}")
    if isinstance(error, MemoryError) or any(part in text.lower() for part in _NO_MEMORY) or _is_of_gpu(error):
        return Interrupted(f"out of memory{text and f': {text}'}; make room, or use fewer workers: {RESUMED}")
    place = _written(error, words, folder_of)
    return InternalError(f"internal error: {type(error).__name__}: {text}; traceback {place}; please report it")


def _is_of_gpu(error: Exception) -> bool:
    return type(error).__name__ == "OutOfMemoryError"  # torch's, which the door has not imported


def _written(error: Exception, words: Sequence[str], folder_of: FolderOf) -> str:
    """Return where the traceback of `error` is: written to the first place that takes it."""
    lines = traceback.format_exception(error)
    told = f"{datetime.now(UTC).isoformat()}\n{list(words)!r}\n\n{''.join(lines)}\n".encode(errors="backslashreplace")
    places: tuple[Callable[[], Path | None], ...] = (
        partial(_run_of, words, folder_of),
        lambda: Path(tempfile.gettempdir()),
        Path.cwd,
    )
    for place in places:
        try:
            if folder := place():
                return f"in {_append(folder, told)}"
        except Exception:  # noqa: S112 (nothing may fail here, and there is another place)
            continue
    return "by --debug"


def _run_of(words: Sequence[str], folder_of: FolderOf) -> Path | None:
    """Return the folder of the run; None if there is none yet: with a file of ours in it none could begin there."""
    folder = folder_of(words)
    return folder if folder is not None and (folder / JOURNAL).is_file() else None


def _append(folder: Path, told: bytes) -> Path:
    """Return the file in `folder` that `told` was added to; in a folder of everybody's it is a new one."""
    if (folder / JOURNAL).is_file():
        path = folder / FILE
        with path.open("ab") as file:
            file.write(told)
        return path
    handle, name = tempfile.mkstemp(prefix="internal_error_", suffix=".txt", dir=folder)
    with os.fdopen(handle, "wb") as file:
        file.write(told)
    return Path(name)
