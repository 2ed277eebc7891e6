"""Does a run survive its driver? SIGKILL at random moments, the same command again, and what the journal then holds.

The run is the embedded digits search with two Ray workers; an uninterrupted run with the same seed is the oracle.
"""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import numpy as np

from leaderboards.benchmarks.record import Cell, Record
from leaderboards.prepare import ROOT
from leaderboards.publish import environment
from search.journal import Journal

N_KILLS = 10
N_CANDIDATES = 60
EARLIEST_S, LATEST_S = 12.0, 24.0  # after the start; the imports and the analysis take about ten seconds
SETTINGS = (f"candidates={N_CANDIDATES}", "front=1", "finetune_epochs=0", "workers=2")


def kills() -> Record:
    """Return how many results were lost, doubled or changed over ten kills."""
    rng = np.random.default_rng(0)
    rows: list[dict[str, Cell]] = []
    with tempfile.TemporaryDirectory() as folder:
        oracle, victim = Path(folder) / "oracle", Path(folder) / "victim"
        known: set[int] = set()
        n_lost = 0
        for number in range(N_KILLS):
            moment = float(rng.uniform(EARLIEST_S, LATEST_S))
            was_done = _run_and_kill(victim, moment)
            found = _numbers(victim)
            n_lost += len(known - set(found))
            known |= set(found)
            rows.append({"kill": number, "after_s": moment, "had_ended": was_done, "results": len(found)})
        _run(victim)
        _run(oracle)
        doubled = sum(count - 1 for count in Counter(_numbers(victim)).values())
        differing = len(_candidates(oracle) ^ _candidates(victim))
    faults = n_lost + doubled + differing
    return Record(
        "kills",
        f"results lost, doubled, or different from an uninterrupted run's after {N_KILLS} SIGKILLs of the driver",
        float(faults),
        "0",
        faults == 0,
        rows,
        environment(),
        "python run_search.py bench kills --json",
    )


def _run_and_kill(out: Path, moment: float) -> bool:
    """Start the run, kill its driver after `moment` seconds, and return whether it had ended before."""
    process = _start(out)
    try:
        process.wait(timeout=moment)
    except subprocess.TimeoutExpired:
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        time.sleep(2)  # Ray's processes notice that their driver is gone
        return False
    return True


def _run(out: Path) -> None:
    code = _start(out).wait()
    if code != 0:
        raise RuntimeError(f"the run ended with exit code {code}")


def _start(out: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, "run_search.py", f"out={out}", *SETTINGS]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL)  # noqa: S603


def _numbers(out: Path) -> list[int]:
    """Return the number of every result line in the journal, doubles included."""
    path = out / "journal.jsonl"
    lines = path.read_bytes().split(b"\n")[:-1] if path.exists() else []
    records = [json.loads(line) for line in lines]
    return [record["number"] for record in records if record["kind"] == "result"]


def _candidates(out: Path) -> set[tuple[int, str]]:
    return {(number, result.candidate.id) for number, result in Journal.read(out / "journal.jsonl").results.items()}
