"""What is each part of the default worth? A whole run without it, at the same budgets, seeds and evaluations."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from leaderboards.benchmarks.arguments import command, parts_of, read_count, read_shares
from leaderboards.benchmarks.record import Cell, Record
from leaderboards.benchmarks.whole_runs.comparison import DEFAULT, FinishedRun, accuracy, chance, search_seconds
from leaderboards.benchmarks.whole_runs.planned_runs import PlannedRun, make_runs
from leaderboards.environment import environment
from leaderboards.recipes.keys import EMBEDDED
from leaderboards.run_path import run_folder

WITHOUT: Mapping[str, tuple[str, ...]] = {
    DEFAULT: (),
    "informed draws": ("strategy=random",),
    "widths a block": ("strategy=uniform",),
    "search": ("candidates=1",),
    "choice of channels": ("importance=l1",),
    "reconstruction": ("recovery=adaptive_bn",),
    "loss as proxy": ("proxy=map50_95",),
    "teacher": ("distill=0",),
}


def ablation(
    *,
    data: str = EMBEDDED,
    budgets: str = "40",
    seeds: str = "3",
    candidates: str = "24",
    epochs: str = "1",
    workers: str = "1",
    out: str = "",
) -> Record:
    """Return by how much fine-tuned mAP50-95 the default is above itself without its least useful part.

    Args:
        data: digits, or bccd or coco128 where REAL_DATA leads to them.
        budgets: percentages of the parent's MACs.
        candidates: of each search, of which the best one becomes a row.
        epochs: of the fine-tuning of each row.
        out: a folder for the runs.
    """
    words = [f"candidates={candidates}", "front=1", f"finetune_epochs={epochs}", f"workers={workers}"]
    folder = run_folder(out or f"ablation-{data}")
    shares, n_seeds = read_shares("budgets", budgets), read_count("seeds", seeds, least=1)
    rows = rows_of(make_runs(list(_plans(data, words, shares, range(n_seeds), folder))))
    worth = min(lead for row in rows if isinstance(lead := row["default_leads_by"], float))
    return Record(
        f"ablation_{data}",
        "fine-tuned mAP50-95 of the default above that without its least useful part, mean of budgets and seeds",
        worth,
        "at least 0",
        worth >= 0,
        rows,
        environment(),
        command("ablation", data, f"budgets={budgets} seeds={seeds} candidates={candidates} epochs={epochs}"),
    )


def rows_of(runs: Sequence[FinishedRun], /) -> list[dict[str, Cell]]:
    """Return a row for the default and one for each part that is left out, the least missed first."""
    found = [_row(name, runs) for name in WITHOUT if any(run.strategy == name for run in runs)]
    return sorted(found, key=lambda row: lead if isinstance(lead := row["default_leads_by"], float) else -1.0)


def _row(name: str, runs: Sequence[FinishedRun]) -> dict[str, Cell]:
    mine = [run for run in runs if run.strategy == name]
    return {
        "without": "" if name == DEFAULT else name,
        "instead": " ".join(WITHOUT[name]),
        **accuracy(mine),
        "search_seconds": search_seconds(mine),
        **chance(name, runs),
        "error": next((run.error for run in mine if run.error), ""),
    }


def _plans(
    data: str, words: Sequence[str], shares: Sequence[float], seeds: range, folder: Path
) -> Iterator[PlannedRun]:
    for seed in seeds:
        for share in shares:
            for name, instead in WITHOUT.items():
                place = folder / f"{name.replace(' ', '_')}-{100 * share:g}-seed{seed}"
                own = [word for word in words if word.split("=")[0] not in {key.split("=")[0] for key in instead}]
                asked = [f"gflops={100 * share:g}%", f"seed={seed}", f"out={place}", *own, *instead]
                yield PlannedRun(name, share, parts_of(data, *asked))
