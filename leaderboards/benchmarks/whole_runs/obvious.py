"""Does a search beat what everybody tries first: the same network fed a smaller image, or simply a smaller detector?

Each cell is a real run at one budget and seed. Its best row is held against its best reference row within the same
limits, both trained on the same images or neither, on the same val; the interval is that of resampled val images.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from evaluators.accuracy.resampled_map import draw_images, load_tally, resampled_map
from leaderboards.benchmarks.arguments import command, parts_of, read_count, read_shares
from leaderboards.benchmarks.record import Cell, Record
from leaderboards.benchmarks.whole_runs.comparison import DEFAULT, FinishedRun
from leaderboards.benchmarks.whole_runs.planned_runs import PlannedRun, make_runs
from leaderboards.choice import Choice
from leaderboards.entry import REFERENCE, Entry
from leaderboards.environment import environment
from leaderboards.leaderboard import Leaderboard
from leaderboards.recipes.keys import EMBEDDED
from leaderboards.reports.resampling import interval
from leaderboards.run_folder import MODELS, TALLY
from leaderboards.run_path import run_folder
from spaces.errors import BadInput

TARGET = 0.01  # of mAP50-95, by which the best row is above the best reference


def obvious(
    *,
    data: str = EMBEDDED,
    rivals: str = "",
    budgets: str = "70,50,36",
    seeds: str = "3",
    candidates: str = "72",
    front: str = "2",
    search_images: str = "64",
    epochs: str = "0",
    workers: str = "2",
    out: str = "",
) -> Record:
    """Return how far a search is above the best obvious alternative, in mAP50-95 on val, at the worst cell.

    Args:
        data: digits, or bccd, coco128 or coco2k where REAL_DATA leads to them.
        rivals: files of other trained detectors, with commas between them.
        budgets: percentages of the parent's MACs.
        front: rows of each search.
        search_images: of train, that rank candidates.
        epochs: of fine-tuning, for rows and references alike; 0 trains nothing.
        out: a folder for the runs.
    """
    shares, n_seeds = read_shares("budgets", budgets), read_count("seeds", seeds, least=1)
    own = [f"candidates={candidates}", f"front={front}", f"search_images={search_images}"]
    words = [*own, f"finetune_epochs={epochs}", f"workers={workers}", *([f"rivals={rivals}"] if rivals else [])]
    folder = run_folder(out or f"obvious-{data}-{epochs}")
    rows = [_row(run, data, epochs) for run in make_runs(list(_plans(data, words, shares, range(n_seeds), folder)))]
    worst = min(float(row["above"]) for row in rows)
    asked = [*([f"rivals={rivals}"] if rivals else []), f"budgets={budgets}", f"seeds={seeds}", *own]
    return Record(
        f"obvious_{data}_{epochs}",
        "mAP50-95 on val of the best row, less that of the best of its references, at the worst budget and seed",
        worst,
        f"at least {TARGET}",
        worst >= TARGET,
        rows,
        environment(),
        command("obvious", data, " ".join([*asked, f"epochs={epochs}"])),
    )


def _plans(
    data: str, words: Sequence[str], shares: Sequence[float], seeds: range, folder: Path
) -> Iterator[PlannedRun]:
    for seed in seeds:
        for share in shares:
            own = [f"gflops={100 * share:g}%", f"seed={seed}", f"out={folder / f'{100 * share:g}-seed{seed}'}"]
            yield PlannedRun(DEFAULT, share, parts_of(data, *own, *words, alone=()))


def _row(run: FinishedRun, data: str, epochs: str) -> dict[str, Cell]:
    """Return what the run of one cell says.

    Raises:
        BadInput: nothing came of it, or it has no row or no reference within the limits.
    """
    if run.run is None or run.share is None:
        raise BadInput(f"a run failed: {run.error}")
    board, parent = run.run.board, run.run.board.parent.quality
    ours = _best(board, [entry for entry in board.rows if entry.strategy != REFERENCE])
    theirs = _best(board, board.references)
    if ours is None or theirs is None or parent is None:
        raise BadInput(f"{run.run.name}: there is no row, or no reference, within the limits")
    spread = _spread(run.run.folder, ours.entry, theirs.entry)
    return {
        "data": data,
        "macs_kept": run.share,
        "epochs": epochs,
        "seed": run.seed,
        "parent": parent.map50_95,
        "ours": ours.map50_95,
        "ours_imgsz": ours.entry.imgsz,
        **{f"obvious {entry.id.partition('@')[0]}": _told(entry) for entry in board.references},
        "above": ours.map50_95 - theirs.map50_95,
        "low": spread[0],
        "high": spread[1],
        "kept": ours.map50_95 / parent.map50_95,
    }


def _best(board: Leaderboard, entries: Sequence[Entry]) -> Choice | None:
    found = [choice for entry in entries if (choice := board.choice(entry))]
    return max(found, key=lambda choice: choice.map50_95, default=None)


def _told(entry: Entry) -> str:
    return f"{entry.quality.map50_95:.4f} at {entry.imgsz} px" if entry.quality else "-"


def _spread(folder: Path, ours: Entry, theirs: Entry) -> tuple[float, float]:
    """Return the middle 95 % of the difference between two rows over resampled val images."""
    tallies = [load_tally(folder / MODELS / entry.id / TALLY) for entry in (ours, theirs)]
    first, second = (resampled_map(tally, draw_images(len(tally.n_truth))) for tally in tallies)
    found = interval(np.asarray(first - second))
    return (float("nan"), float("nan")) if found is None else (found.low, found.high)
