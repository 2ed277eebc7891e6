"""The cheapest setting of each side that still ranks candidates as its own full setting does.

Every candidate is measured once at each recovery; what fewer images would have said follows from the same outputs,
what it would have cost from the same timings.
"""

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from evaluators.accuracy.detection import CocoMap, Predictions, coco_map, predict, task_loss
from evaluators.data.images import Images
from leaderboards.benchmarks.ranking.eagleeye import N_BATCHES, detect, forward
from leaderboards.benchmarks.ranking.testbed import Build, Stopwatch, Testbed
from leaderboards.reports.agreement import correlate
from spaces.candidate import Candidate
from spaces.recovery.recovery import Recovery

LEAST_SPEARMAN = 0.95
COUNTS = (8, 16, 32, 64)  # scored images
PART = 8
FEW = 8  # images to recover on, beside the recipe's own number
RECOVERIES = (Recovery.RECONSTRUCT, Recovery.ONE_SHOT, Recovery.ADAPTIVE_BN)  # the full one first
BATCHES = (2, 8, N_BATCHES)  # of the port's calibration


@dataclass(frozen=True)
class Setting:
    """One way to score a candidate.

    Attributes:
        seconds: a candidate takes.
        spearman: with the ranking of the side's full setting, 0 where one of the rankings is constant.
    """

    name: str
    seconds: float
    spearman: float


@dataclass(frozen=True, eq=False)
class _Column:
    """The scores of all candidates at one setting."""

    name: str
    seconds: float
    scores: Sequence[float]  # higher is better


def settings_of_ours(testbed: Testbed, n: int, /) -> list[Setting]:
    """Return every setting of ours on `n` candidates on the budget, the full one first."""
    drawn = [testbed.draw(index) for index in range(n)]
    columns = []
    for n_images in (testbed.parts.making.calibration_images, FEW):
        for recovery, build in testbed.builders(n_images, RECOVERIES).items():
            columns += _ours(testbed.scored, drawn, build, name=f"{recovery} on {n_images}")
    return _compare(columns)


def settings_of_port(testbed: Testbed, n: int, propose_s: float, /) -> list[Setting]:
    """Return every setting of the port on `n` candidates on the budget, the full one first.

    Args:
        propose_s: what it takes the port to find a candidate on the budget.
    """
    watch = Stopwatch()
    found: dict[int, list[Predictions]] = {n_batches: [] for n_batches in BATCHES}
    draws = (testbed.port.draw() for _ in itertools.count())
    for keep in itertools.islice(filter(testbed.port.is_on_target, draws), n):
        with watch.time("inherit"):
            model = testbed.port.inherit(keep)
        for before, n_batches in zip((0, *BATCHES), BATCHES, strict=False):
            with watch.time(f"calibrate to {n_batches}"):
                testbed.port.calibrate_(model, n_batches=n_batches - before)
            with watch.time("validate"):
                found[n_batches].append(detect(forward(model, testbed.scored), testbed.scored))
    columns = []
    for reached in reversed(range(len(BATCHES))):
        steps = [f"calibrate to {n_batches}" for n_batches in BATCHES[: reached + 1]]
        columns += _by_map(
            testbed.scored,
            found[BATCHES[reached]],
            name=f"{BATCHES[reached]} batches",
            fixed_s=propose_s + watch.mean("inherit", *steps),
            predict_s=watch.mean("validate"),
            value=lambda quality: quality.map50,
        )
    return _compare(columns)


def cheapest(settings: Sequence[Setting], /) -> Setting:
    """Return the cheapest of `settings` that ranks as the first of them; the first does so itself."""
    faithful = [setting for setting in settings[1:] if setting.spearman >= LEAST_SPEARMAN]
    return min([settings[0], *faithful], key=lambda setting: setting.seconds)


def _ours(images: Images, drawn: Sequence[Candidate], build: Build, /, *, name: str) -> list[_Column]:
    watch = Stopwatch()
    found: list[Predictions] = []
    losses: list[list[float]] = []  # of each candidate, for each part of the images
    parts = list(images.parts(PART))
    for candidate in drawn:
        with watch.time("build"):
            model = build(candidate)
        with watch.time("predict"):
            found.append(predict(model, images))
        with watch.time("loss"):
            losses.append([task_loss(model, part) for part in parts])
    columns = _by_map(
        images,
        found,
        name=name,
        fixed_s=watch.mean("build"),
        predict_s=watch.mean("predict"),
        value=lambda quality: quality.map50_95,
    )
    for count in _counts(images):
        seconds = watch.mean("build") + watch.mean("loss") * count / len(images)
        means = [-float(np.mean(of_parts[: count // PART])) for of_parts in losses]
        columns.append(_Column(f"{name}, loss of {count}", seconds, means))
    return columns


def _by_map(
    images: Images,
    found: Sequence[Predictions],
    *,
    name: str,
    fixed_s: float,
    predict_s: float,
    value: Callable[[CocoMap], float],
) -> list[_Column]:
    """Return a column for each number of images, the largest first."""
    columns = []
    for count in _counts(images):
        watch = Stopwatch()
        first = next(images.parts(count))
        scores = []
        for predictions in found:
            with watch.time("map"):
                scores.append(value(coco_map(predictions[:count], first)))
        seconds = fixed_s + predict_s * count / len(images) + watch.mean("map")
        columns.append(_Column(f"{name}, mAP of {count}", seconds, scores))
    return columns


def _counts(images: Images) -> list[int]:
    return sorted({min(count, len(images) // PART * PART) for count in COUNTS}, reverse=True)


def _compare(columns: Sequence[_Column]) -> list[Setting]:
    """Return the settings of `columns`, each held against the first."""
    settings = []
    for column in columns:
        agreement = correlate(column.scores, columns[0].scores)
        settings.append(Setting(column.name, column.seconds, agreement.spearman if agreement else 0.0))
    return settings
