"""What runs of several strategies say about them: curves at equal evaluations and equal time, rows, and chance."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from statistics import mean, stdev

import numpy as np

from leaderboards.benchmarks.record import Cell
from leaderboards.reports.across.curves import Band, band_of
from leaderboards.reports.across.past_run import PastRun, boxes_of

DEFAULT = "informed"
CONTROLS = ("unstructured",)  # keep no limit, so they have none
BASELINE, BASELINE_SHARE, MOST_LOST = "random", 0.6, 0.5
NEVER = 2.0
UNKNOWN = "-"


@dataclass(frozen=True, eq=False)
class FinishedRun:
    """One run of one strategy.

    Attributes:
        strategy: its name, or that of another setting that is compared with the default.
        share: of the parent's MACs that it might keep; None for a control.
        run: None if nothing came of it, for the reason in `error`.
    """

    strategy: str
    share: float | None
    seed: int
    run: PastRun | None
    error: str = ""

    @cached_property
    def map50_95(self) -> float | None:
        """The best mAP on val of its rows within the budget, fine-tuned; None without one."""
        board = None if self.run is None else self.run.board
        rows = [] if board is None else [(board.choice(entry), entry.quality) for entry in board.rows]
        return max((quality.map50_95 for choice, quality in rows if choice and quality), default=None)

    @property
    def lost(self) -> float | None:
        """How far that is below the parent's."""
        parent = None if self.run is None else self.run.board.parent.quality
        return None if self.map50_95 is None or parent is None else parent.map50_95 - self.map50_95

    @property
    def tuning_seconds(self) -> float:
        """How long its rows took, from fine-tuning to measuring."""
        return 0.0 if self.run is None else sum(entry.seconds for entry in self.run.board.rows)


@dataclass(frozen=True, eq=False)
class Field:
    """All runs of one budget, with the hypervolume of each strategy as a band over its seeds.

    Attributes:
        by_seconds: up to where the first run of any strategy ended, so that all had the same time.
    """

    share: float | None
    finished: Sequence[FinishedRun]

    @cached_property
    def runs(self) -> dict[str, list[PastRun]]:
        """The runs of each strategy that something came of."""
        names = dict.fromkeys(run.strategy for run in self.finished)
        return {name: [t.run for t in self.finished if t.strategy == name and t.run is not None] for name in names}

    @cached_property
    def by_evaluations(self) -> dict[str, Band]:
        """The bands of the strategies over evaluations."""
        boxes = boxes_of([run for runs in self.runs.values() for run in runs])
        return {name: band_of([run.by_evaluations(boxes[run.name]) for run in runs])
                for name, runs in self.runs.items() if runs}  # fmt: skip

    @cached_property
    def by_seconds(self) -> dict[str, Band]:
        """The bands of the strategies over seconds."""
        boxes = boxes_of([run for runs in self.runs.values() for run in runs])
        return {name: band_of([run.by_seconds(boxes[run.name]) for run in runs])
                for name, runs in self.runs.items() if runs}  # fmt: skip

    @property
    def equal_seconds(self) -> float:
        """The least time that a run took."""
        return min((float(band.x[-1]) for band in self.by_seconds.values()), default=0.0)

    @property
    def rival(self) -> str | None:
        """The strategy other than the default whose final hypervolume is the largest; None if nothing is there."""
        finals = {name: float(band.mean[-1]) for name, band in self.by_evaluations.items() if name != DEFAULT}
        return max(finals, key=lambda name: finals[name], default=None)

    @property
    def needed_share(self) -> float:
        """The share of the rival's evaluations after which the default is where the rival ended; 2 if it never is."""
        if self.rival is None or DEFAULT not in self.by_evaluations:
            return NEVER
        rival = self.by_evaluations[self.rival]
        needed = self.by_evaluations[DEFAULT].curve.first(float(rival.mean[-1]))
        return NEVER if needed is None else needed / float(rival.x[-1])


def fields_of(finished: Sequence[FinishedRun], /) -> list[Field]:
    """Return the runs by budget, the controls last."""
    shares = sorted({run.share for run in finished if run.share is not None}, reverse=True)
    controls = [None] if any(run.share is None for run in finished) else []
    return [Field(share, [run for run in finished if run.share == share]) for share in (*shares, *controls)]


def worst_share(finished: Sequence[FinishedRun], /) -> float:
    """Return the largest share of the rival's evaluations that the default needs, over the budgets."""
    return max(field.needed_share for field in fields_of(finished) if field.share is not None)


def holds(finished: Sequence[FinishedRun], /) -> bool:
    """Return whether the default loses at most half of what random loses at 60 %; true where that was not tried.

    Where random loses nothing, as rows may be trained past the parent, the default must do as well as it.
    """
    at = [run for run in finished if run.share == BASELINE_SHARE]
    theirs = [run.lost for run in at if run.strategy == BASELINE and run.lost is not None]
    ours = [run.lost for run in at if run.strategy == DEFAULT and run.lost is not None]
    if not theirs or not ours:
        return not theirs
    most = mean(theirs)
    return mean(ours) <= (MOST_LOST * most if most > 0 else most)


def rows_of(finished: Sequence[FinishedRun], /) -> list[dict[str, Cell]]:
    """Return a row for each strategy and budget, the best mAP of each budget first."""
    rows = []
    for field in fields_of(finished):
        mine = [_row(name, field, finished) for name in field.runs]
        rows += sorted(mine, key=lambda row: -float(row["map50_95"]) if row["map50_95"] != UNKNOWN else 1.0)
    return rows


def sign_flips(differences: Sequence[float], /) -> tuple[float, float]:
    """Return the two-sided p of pairs whose differences are as likely of either sign, and the least it could be.

    Exact: every choice of signs is tried. Three pairs cannot go below .25, six not below .03.
    """
    n = len(differences)
    signs = np.array(list(product((1, -1), repeat=n)), float).reshape(-1, n)
    means = np.abs(signs @ np.array(differences))
    return float((means >= means[0] * (1 - 1e-9)).mean()), 2.0 / 2**n


def accuracy(finished: Sequence[FinishedRun], /) -> dict[str, Cell]:
    """Return the mean of their mAP, its standard deviation, and the mean that is lost; "-" for what is not known."""
    scores = [run.map50_95 for run in finished if run.map50_95 is not None]
    lost = [run.lost for run in finished if run.lost is not None]
    return {
        "map50_95": mean(scores) if scores else UNKNOWN,
        "map_sd": stdev(scores) if len(scores) > 1 else UNKNOWN,
        "map_lost": mean(lost) if lost else UNKNOWN,
    }


def search_seconds(finished: Sequence[FinishedRun], /) -> Cell:
    """Return how long their searches took, the mean."""
    runs = [run.run for run in finished if run.run is not None]
    return mean(max(run.seconds.values(), default=0.0) for run in runs) if runs else UNKNOWN


def _row(name: str, field: Field, finished: Sequence[FinishedRun]) -> dict[str, Cell]:
    mine = [run for run in field.finished if run.strategy == name]
    runs = field.runs[name]
    row: dict[str, Cell] = {
        "budget": UNKNOWN if field.share is None else field.share,
        "strategy": name,
        **accuracy(mine),
        "seeds": sum(run.map50_95 is not None for run in mine),
        "evaluations": mean(len(run.results) for run in runs) if runs else UNKNOWN,
        "search_seconds": search_seconds(mine),
        "tuning_seconds": mean(run.tuning_seconds for run in mine),
    }
    row |= _volumes(name, field)
    row |= chance(name, finished)
    return row | {"error": next((run.error for run in mine if run.error), "")}


def _volumes(name: str, field: Field) -> dict[str, Cell]:
    if name not in field.by_evaluations:
        return dict.fromkeys(("hypervolume", "hypervolume_at_equal_seconds", "equal_seconds"), UNKNOWN)
    return {
        "hypervolume": float(field.by_evaluations[name].mean[-1]),
        "hypervolume_at_equal_seconds": field.by_seconds[name].curve.at(field.equal_seconds),
        "equal_seconds": field.equal_seconds,
    }


def chance(name: str, finished: Sequence[FinishedRun], /) -> dict[str, Cell]:
    """Return the mean lead of the default in mAP over all budgets and seeds, and how likely it is by chance."""
    scores = {(t.strategy, t.share, t.seed): t.map50_95 for t in finished if t.map50_95 is not None}
    pairs = [(scores.get((DEFAULT, share, seed)), score) for (who, share, seed), score in scores.items() if who == name]
    leads = [ours - theirs for ours, theirs in pairs if ours is not None]
    if name == DEFAULT or not leads:
        return dict.fromkeys(("default_leads_by", "pairs", "p", "least_p"), UNKNOWN)
    p, least = sign_flips(leads)
    return {"default_leads_by": mean(leads), "pairs": len(leads), "p": p, "least_p": least}
