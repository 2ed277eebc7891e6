"""The id of a tracker's run, kept in the run folder, so that a resumed run goes on with the same one."""

import json
from pathlib import Path

from spaces.files import write_atomic


def read_id(path: Path, /) -> str | None:
    """Return the id that `keep_id` wrote to `path`; None if there is none."""
    if not path.exists():
        return None
    match json.loads(path.read_text(encoding="utf-8")):
        case {"run_id": str(run_id)}:
            return run_id
    return None


def keep_id(path: Path, run_id: str, /) -> None:
    """Write `run_id` to `path` in one step."""
    write_atomic(path, json.dumps({"run_id": run_id}))
