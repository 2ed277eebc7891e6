"""A benchmark and its record."""

import json
from collections.abc import Sequence

from rich.console import Console

from leaderboards.benchmarks import running


def bench(words: Sequence[str], console: Console, is_json: bool, /) -> None:
    """Run a benchmark and print its record."""
    record = running.run(words)
    console.print_json(json.dumps(record.to_json())) if is_json else running.write_terminal(record, console)
