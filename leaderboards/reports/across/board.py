"""One leaderboard over several runs: every row of each, ties shown as ties, and their searches side by side."""

import os
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from evaluators.accuracy.average_precision import Tally
from evaluators.accuracy.resampled_map import load_tally
from leaderboards.entry import Entry, Quality
from leaderboards.recipes.keys import LIMITS, WHERE
from leaderboards.reports.across.past_run import PastRun, read_past_run
from leaderboards.reports.across.standing import Contender, Place, stand
from leaderboards.run_folder import MODELS, TALLY
from search.pareto import is_front
from spaces.errors import BadInput

JOINT = "-vs-"
LONGEST = 64  # characters of a run's name
NOT_TOLD = frozenset(("seed", "strategy", "proxy", "data", "weights", "allow_foreign_device", *LIMITS, *WHERE))


@dataclass(frozen=True, eq=False)
class Standing:
    """A row of one of the runs.

    Attributes:
        place: None for a parent, which does not compete, and for a row that failed.
    """

    run: PastRun
    entry: Entry
    place: Place | None
    is_on_front: bool

    @property
    def quality(self) -> Quality | None:
        """What was measured of it."""
        return self.entry.quality

    @property
    def is_parent(self) -> bool:
        """Whether it is the unpruned detector."""
        return self.entry is self.run.board.parent


@dataclass(frozen=True, eq=False)
class Across:
    """Several runs on the same images at the same size."""

    runs: Sequence[PastRun]

    @cached_property
    def parents(self) -> list[PastRun]:
        """The first run of each parent."""
        firsts = {str(run.journal.header.get("weights")): run for run in reversed(self.runs)}
        return [run for run in self.runs if run in firsts.values()]

    @cached_property
    def standings(self) -> list[Standing]:
        """The parents, then all other rows as they stand, failed ones last."""
        parents = [(run, run.board.parent) for run in self.parents]
        rows = [(run, entry) for run in self.runs for entry in run.board.rows]
        measured = [(run, entry) for run, entry in rows if entry.quality]
        places = stand([_contender(run, entry) for run, entry in measured])
        front = _front([entry for _, entry in (*parents, *measured)])
        ranked = [
            Standing(run, entry, place, is_on)
            for (run, entry), place, is_on in zip(measured, places, front[len(parents) :], strict=True)
        ]
        first = [Standing(run, entry, None, is_on) for (run, entry), is_on in zip(parents, front, strict=False)]
        failed = [Standing(run, entry, None, False) for run, entry in rows if not entry.quality]
        return [*first, *sorted(ranked, key=_order), *failed]

    @cached_property
    def labels(self) -> dict[str, str]:
        """What each run is called beside the others: its strategy, and the settings in which the runs differ.

        Runs of one label differ in their seeds at most.
        """
        kept = {key for run in self.runs for key in run.recipe if key not in NOT_TOLD}
        told = [key for key in sorted(kept) if len({str(run.recipe.get(key)) for run in self.runs}) > 1]
        return {
            run.name: ", ".join([run.strategy, *(f"{key} {run.recipe.get(key)}" for key in told)]) for run in self.runs
        }

    def tasks(self) -> dict[tuple[str, ...], dict[str, list[PastRun]]]:
        """Return the runs of each task by their label."""
        found: dict[tuple[str, ...], dict[str, list[PastRun]]] = {}
        for run in self.runs:
            found.setdefault(run.task, {}).setdefault(self.labels[run.name], []).append(run)
        return found


def read_across(folders: Sequence[Path], /) -> Across:
    """Return the runs in `folders`.

    Raises:
        BadInput: fewer than two, one that is named twice or holds no finished row, or runs whose images or whose
            image size differ: their mAP would not compare.
    """
    if len(folders) < 2:
        raise BadInput(f"a leaderboard across runs needs at least two of them, got {len(folders)}")
    names = [folder.name for folder in folders]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise BadInput(f"runs must have different names, {twice!r:.60} occurs {names.count(twice)} times")
    runs = [read_past_run(folder) for folder in folders]
    for key, what in (("data", "data sets"), ("imgsz", "image sizes")):
        told = {run.name: str(run.journal.header.get(key)) for run in runs}
        if len(set(told.values())) > 1:
            raise BadInput(f"runs on different {what} do not compare: {_told(told)}")
    return Across(runs)


def default_folder(folders: Sequence[Path], /) -> str:
    """Return what the comparison of the runs in `folders` is called unless the user says otherwise."""
    joined = JOINT.join(folder.name for folder in folders)
    if len(joined) <= LONGEST:
        return joined
    end = f"{JOINT}{len(folders) - 1}-others"
    return folders[0].name[: LONGEST - len(end)] + end


def check_out(folder: Path, /) -> None:
    """Make sure that a comparison can be written to `folder`.

    Raises:
        BadInput: it is a run of its own, whose report would be lost, or no folder that can be written to.
    """
    nearest = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    if (folder / "journal.jsonl").exists():
        raise BadInput(f"out: {str(folder)!r} is a run, whose own report would be lost")
    if not nearest.is_dir() or not os.access(nearest, os.W_OK):
        raise BadInput(f"out: {str(folder)!r} is no folder that can be written to")


def _contender(run: PastRun, entry: Entry) -> Contender:
    assert entry.quality is not None
    return Contender(entry.quality.map50_95, _tally(run.folder / MODELS / entry.id / TALLY))


def _tally(path: Path) -> Tally | None:
    """Return the tally at `path`; None if there is none, or it is damaged."""
    try:
        return load_tally(path)
    except (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile, zlib.error):
        return None


def _front(entries: Sequence[Entry]) -> list[bool]:
    """Return which of `entries` no other one beats in both mAP and GFLOPs; a failed one is not on it."""
    qualities = [entry.quality for entry in entries]
    points = np.array([[-quality.map50_95, quality.gflops] for quality in qualities if quality], np.float64)
    flags = iter(is_front(points.reshape(-1, 2)).tolist())
    return [bool(quality) and bool(next(flags)) for quality in qualities]


def _order(standing: Standing) -> tuple[int, float, float, str, str]:
    assert standing.place is not None
    assert standing.quality is not None
    quality = standing.quality
    return (standing.place.rank, -quality.map50_95, quality.gflops, standing.run.name, standing.entry.id)


def _told(values: Mapping[str, object]) -> str:
    """Return who has which value, the first two that differ."""
    first = next(iter(values.items()))
    other = next(item for item in values.items() if item[1] != first[1])
    return ", ".join(f"{name} has {value}" for name, value in (first, other))
