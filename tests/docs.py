"""Where the documents lie, and the commands that they show."""

import re
import shlex
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md")])
FENCE = re.compile(r"```bash\n(.*?)```", re.DOTALL)
COMMAND = "python run_search.py"


def commands_of(page: Path) -> list[list[str]]:
    """Return the words of each command of ours that `page` shows in a block of shell lines."""
    lines = [line.strip() for block in FENCE.findall(page.read_text(encoding="utf-8")) for line in block.splitlines()]
    own = [line.partition(COMMAND)[2] for line in lines if COMMAND in line and not line.startswith("#")]
    return [shlex.split(line, comments=True) for line in own]
