"""Writes the page of all keys: `python -m leaderboards.verbs.keys_page [FILE]`, by default docs/keys.md."""

import sys
from pathlib import Path

from leaderboards.verbs.help import keys_page
from spaces.files import write_atomic

if __name__ == "__main__":
    write_atomic(Path(sys.argv[1] if len(sys.argv) > 1 else "docs/keys.md"), keys_page())
