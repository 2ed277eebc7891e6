"""A small run in two calls, as watchers hear of it: the first one is stopped, the second goes on to the end."""

import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from pkgutil import resolve_name

from evaluators.result import Result, Status
from evaluators.runtimes.by_name import DEFAULT
from evaluators.runtimes.precision import Precision
from leaderboards.entry import PARENT, DeployedFile, Entry, Quality
from leaderboards.leaderboard import Leaderboard
from leaderboards.trackers.by_name import TRACKERS
from leaderboards.trackers.tracker import MakeTracker, RunFacts
from leaderboards.watcher import Watcher
from spaces.candidate import Candidate

SMALL, BROKEN = Candidate("same", (("a", 8),)), Candidate("same", (("a", 16),))
SETTINGS: Mapping[str, object] = {"weights": "my|model.pt", "bits": [8, 4], "lr": None, "workers": 2}
RESUMED: Mapping[str, object] = {**SETTINGS, "workers": 1}


def facts(folder: Path, *, settings: Mapping[str, object] = SETTINGS, n_failed: int = 0) -> RunFacts:
    return RunFacts(folder.name, folder, settings, n_failed)


def result(number: int, *, loss: float | None) -> Result:
    """Return a measured result, or a failed one if there is no `loss`."""
    if loss is None:
        return Result(number, BROKEN, Status.FAILED, {}, 1.0, "RuntimeError: no")
    return Result(number, SMALL, Status.DONE, {"loss": loss, "macs_g": 2.0}, 1.0)


def entry(name: str, candidate: Candidate, *, map50_95: float | None) -> Entry:
    """Return a measured row, or a failed one if there is no mAP."""
    quality = None
    if map50_95 is not None:
        file = DeployedFile(DEFAULT, Precision.FP32, "model.onnx", 5.0, map50_95, latency_ms=8.0, latency_p95_ms=9.0)
        quality = Quality(map50_95, map50=0.6, gflops=4.0, params_m=2.0, bits_mean=32.0, files=(file,))
    return Entry(
        id=name, candidate=candidate, strategy="evolution", status=Status.DONE if quality else Status.FAILED,
        proxy=None, proxy_name="loss", imgsz=320, seed=0, epochs=2, seconds=3.0, quality=quality,
        error="" if quality else "RuntimeError: export\nbroke",
    )  # fmt: skip


def board() -> Leaderboard:
    """Return a parent above the limits, a row within them, and a failed row."""
    rows = [entry(SMALL.id, SMALL, map50_95=0.4), entry("bad/<row>", BROKEN, map50_95=None)]
    return Leaderboard([entry(PARENT, Candidate("same", ()), map50_95=0.5), *rows], {"size_mb": 6.0})


def play_first_call(watchers: Sequence[Watcher]) -> None:
    for watcher in watchers:
        watcher.stage("searching\n3 candidates")
        watcher.on_result(result(0, loss=2.5))
        watcher.on_result(result(1, loss=None))


def stop_after_first_call(name: str, folder: Path) -> None:
    """Play the first call for one tracker, which hears of no end."""
    os.environ.update(TRACKERS[name].environment)
    make: MakeTracker = resolve_name(TRACKERS[name].tracker)
    folder.mkdir()
    play_first_call([make(facts(folder))])


def play_second_call(watchers: Sequence[Watcher], folder: Path) -> None:
    """Play the rest, with the files of the leaderboard in the folder as they are when a run is over."""
    (folder / "leaderboard.csv").write_text("id\nparent\n", encoding="utf-8")
    (folder / "report.html").write_text("<p>report</p>", encoding="utf-8")
    for watcher in watchers:
        watcher.on_result(result(2, loss=1.5))
        watcher.on_result(result(3, loss=None))
        watcher.stage("fine-tuning 2 rows")
        for epoch in (1, 2):
            watcher.on_epoch(SMALL.id, {"epoch": epoch, "loss": 3.0 / epoch, "lr@1": 0.5})
        for row in board().entries:
            watcher.on_entry(row)
        watcher.on_end(board())


if __name__ == "__main__":
    stop_after_first_call(sys.argv[1], Path(sys.argv[2]))
