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
from leaderboards.environment import environment
from search.journal import Journal
from spaces.detectors.embedded import ROOT

N_KILLS = 10
N_CANDIDATES = 150
EARLIEST_S, LATEST_S = 25.0, 40.0  # after the start; imports, analysis, study and Ray take 20 to 30 seconds
SETTINGS = (f"candidates={N_CANDIDATES}", "front=1", "finetune_epochs=0", "workers=2")


def kills() -> Record:
    """Return how many results were lost, doubled or changed over ten kills."""
    rng = np.random.default_rng(0)
    rows: list[dict[str, Cell]] = []
    with tempfile.TemporaryDirectory() as folder:
        oracle, victim = Path(folder) / "oracle", Path(folder) / "victim"
        known: set[int] = set()
        n_lost = 0
        while len(rows) < N_KILLS:
            moment = float(rng.uniform(EARLIEST_S, LATEST_S))
            _run_and_kill(victim, moment)
            found = _numbers(victim)
            if len(found) == N_CANDIDATES:
                raise RuntimeError(f"the search ended after {len(rows)} kills: raise N_CANDIDATES")
            n_lost += len(known - set(found))
            if set(found) > known:  # it was killed in the middle of the search
                rows.append({"kill": len(rows) + 1, "after_s": moment, "results": len(found)})
            known |= set(found)
        _run(victim)
        _run(oracle)
        doubled = sum(count - 1 for count in Counter(_numbers(victim)).values())
        differing = len(_candidates(oracle) ^ _candidates(victim))
        rows.append({"kill": 0, "after_s": 0.0, "results": len(_candidates(oracle))})  # the oracle
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


def _run_and_kill(out: Path, moment: float) -> None:
    """Start the run and kill its driver after `moment` seconds."""
    process = _start(out)
    time.sleep(moment)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    time.sleep(2)  # Ray's processes notice that their driver is gone


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


def _candidates(out: Path) -> set[tuple[int, str, float]]:
    """Return number, candidate and proxy of every result, the proxy to six digits."""
    results = Journal.read(out / "journal.jsonl").results.values()
    return {(result.number, result.candidate.id, round(result.readings["map50_95"], 6)) for result in results}
