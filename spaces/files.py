"""Files that appear whole or not at all, and what is said of a place that takes no more of them."""

import errno
import os
from pathlib import Path

from spaces.errors import BadInput, Interrupted, UserError

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
PASSING = (errno.EIO, errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EAGAIN, errno.ESTALE, errno.ETIMEDOUT)
RESUMED = "what is finished is kept; run it again to go on"
_FULL_IN_WORDS = ("no space left", "disk quota exceeded", "[errno 27]", "os error 27", "outofdiskerror",
                  "inline_container.cc", "protobuf serialization failed")  # fmt: skip  # torch's and ONNX's


def write_atomic(path: Path, content: str | bytes, /) -> None:
    """Write `content` to `path` in one step: a reader sees the old file or the new one, never a part.

    Raises:
        OSError: the disk refuses, with `path`; the old file is then untouched and no temporary file is left.
    """
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        with partial.open("wb") as file:
            file.write(content.encode() if isinstance(content, str) else content)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise OSError(error.errno, error.strerror, str(path)) from error
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


def tells_of_full_disk(text: str, /) -> bool:
    """Return whether `text`, of an error in whatever library or process, says that a disk takes no more."""
    return any(words in text.lower() for words in _FULL_IN_WORDS)


def refusal(error: OSError, /) -> UserError | None:
    """Return in one line what the system refuses, None if `error` is of no file.

    A disk that is full and a system that is short of something leave a run that goes on once there is room.
    """
    cause = error.strerror or type(error).__name__
    if error.errno in FULL:
        return Interrupted(f"disk full: {_place(error)}{cause}; make room: {RESUMED}")
    if error.errno in PASSING:
        return Interrupted(f"{_place(error)}{cause}; {RESUMED}")
    return None if error.filename is None else BadInput(f"{_place(error)}{cause}")


def _place(error: OSError) -> str:
    return "" if error.filename is None else f"{str(error.filename)!r:.300}: "
