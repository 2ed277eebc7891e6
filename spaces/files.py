"""Files that appear whole or not at all."""

import os
from pathlib import Path


def write_atomic(path: Path, content: str | bytes, /) -> None:
    """Write `content` to `path` in one step: a reader sees the old file or the new one, never a part.

    Raises:
        OSError: the disk refuses; the old file is then untouched and no temporary file is left.
    """
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        with partial.open("wb") as file:
            file.write(content.encode() if isinstance(content, str) else content)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
