"""A run as its folder tells it, for whoever compares several."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from evaluators.budget import Budget
from evaluators.metric import MACS, Metric
from evaluators.proxies.by_name import METRICS
from evaluators.result import Result, Status
from leaderboards.leaderboard import Leaderboard
from leaderboards.reports.across.curves import Box, Curve, Floats, box_of, hypervolumes
from leaderboards.run_folder import RECIPE, read_board, read_run, seconds_of
from leaderboards.run_records import SPACE
from search.pareto import Losses, losses
from search.replay import Replay
from spaces.errors import BadInput


@dataclass(frozen=True, eq=False)
class PastRun:
    """What was asked of a run, and what came of it.

    Attributes:
        recipe: every setting by its key.
    """

    folder: Path
    recipe: Mapping[str, object]
    journal: Replay
    board: Leaderboard

    @property
    def name(self) -> str:
        """What the run is called."""
        return self.folder.name

    @property
    def strategy(self) -> str:
        """What proposed its candidates."""
        return str(self.recipe["strategy"])

    @property
    def limits(self) -> Mapping[str, float]:
        """What no candidate was to exceed, by metric name, percentages resolved."""
        limits = self.journal.records(SPACE)[0]["limits"]
        assert isinstance(limits, dict)
        return limits

    @property
    def task(self) -> tuple[str, ...]:
        """What runs have in common whose searches can be compared: what they ranked by, and under which limits."""
        return (str(self.recipe["proxy"]), *(f"{name} <= {limit:.4g}" for name, limit in sorted(self.limits.items())))

    @property
    def objectives(self) -> tuple[Metric, ...]:
        """The proxy and the limited costs; MACs where nothing is limited."""
        costs = tuple(METRICS[name] for name in sorted(self.limits)) or (MACS,)
        return (METRICS[str(self.recipe["proxy"])], *costs)

    @cached_property
    def results(self) -> list[Result]:
        """What was measured, in the order of proposal."""
        return [self.journal.results[number] for number in sorted(self.journal.results)]

    @cached_property
    def seconds(self) -> dict[int, float]:
        """When each result was there; for a run that kept no clock the sum of what the workers took."""
        sums = np.cumsum([result.seconds for result in self.results])
        summed = {result.number: float(total) for result, total in zip(self.results, sums, strict=True)}
        return {**summed, **seconds_of(self.journal)}

    def points(self) -> Losses:
        """Return the losses of everything measured within the limits, in the order of proposal."""
        return losses(self._within(self.results), self.objectives)

    def by_evaluations(self, box: Box, /) -> Curve:
        """Return the hypervolume after so many evaluations; those over the budget and the failed ones count too."""
        done = self._within(self.results)
        places = {result.number: place for place, result in enumerate(self.results, start=1)}
        return _ended(Curve(np.array([places[r.number] for r in done], float), self._volumes(done, box)),
                      float(len(self.results)))  # fmt: skip

    def by_seconds(self, box: Box, /) -> Curve:
        """Return the hypervolume after so many seconds, in the order in which the results came."""
        done = sorted(self._within(self.results), key=lambda result: self.seconds[result.number])
        times = np.array([self.seconds[result.number] for result in done])
        return _ended(Curve(times, self._volumes(done, box)), max(self.seconds.values(), default=0.0))

    def _within(self, results: Sequence[Result]) -> list[Result]:
        """Return what was measured within the limits; a method that trains measures beyond them on its way."""
        budget = Budget(self.limits)
        done = [result for result in results if result.status is Status.DONE]
        return [result for result in done if not budget.violations(result.readings)]

    def _volumes(self, done: Sequence[Result], box: Box) -> Floats:
        return hypervolumes(losses(done, self.objectives), box)


def read_past_run(folder: Path, /) -> PastRun:
    """Return the run in `folder`.

    Raises:
        BadInput: it holds no run, one without finished rows, or one whose recipe or results lack what is compared.
    """
    journal, recipe = read_run(folder)
    run = PastRun(folder, recipe, journal, read_board(journal, folder))
    path = folder / RECIPE
    if missing := [key for key in ("strategy", "proxy", "seed", "search_images") if key not in recipe]:
        raise BadInput(f"{str(path)!r} lacks {', '.join(missing)}; run the same command again, which writes it anew")
    if unknown := [name for name in (str(recipe["proxy"]), *run.limits) if name not in METRICS]:
        raise BadInput(f"{str(folder)!r}: unknown to this version: {unknown[0]!r:.40}")
    needed = {metric.name for metric in run.objectives}
    if poor := [r.number for r in run.results if r.status is Status.DONE and not needed <= set(r.readings)]:
        raise BadInput(f"{journal.path}: result {poor[0]} lacks one of {', '.join(sorted(needed))}")
    return run


def boxes_of(runs: Sequence[PastRun], /) -> dict[str, Box]:
    """Return the box of each run by its name, one for all that share a task and the images that rank.

    A run of which nothing was within the limits has none unless another one gives it.
    """
    kin: dict[tuple[object, ...], list[PastRun]] = {}
    for run in runs:
        kin.setdefault((*run.task, str(run.recipe["seed"]), str(run.recipe["search_images"])), []).append(run)
    found = [(members, [points for run in members if len(points := run.points())]) for members in kin.values()]
    return {run.name: box_of(points) for members, points in found if points for run in members}


def _ended(curve: Curve, end: float) -> Curve:
    """Return `curve` from 0 to `end`, where the run stopped."""
    last = curve.y[-1:] if len(curve.y) else np.zeros(1)
    return Curve(np.concatenate([[0.0], curve.x, [end]]), np.concatenate([[0.0], curve.y, last]))
