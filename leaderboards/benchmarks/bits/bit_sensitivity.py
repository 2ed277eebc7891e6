"""Do the sensitivities say what an allocation of bits costs, without trying it, and for how few passes?

Random allocations of a parent, from nearly all at 8 bits to every layer at random, each simulated and measured on the
hold-out of train. What each sensitivity predicts is summed over the layers and held against what was measured.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from ultralytics.nn.tasks import DetectionModel

from evaluators.accuracy.detection import score
from evaluators.data.images import load_images
from evaluators.metric import LOSS, MAP
from leaderboards.benchmarks.arguments import command, parts_of, read_count
from leaderboards.benchmarks.record import Cell, Record
from leaderboards.environment import environment
from leaderboards.recipes.parts import Parts
from leaderboards.reports.agreement import correlate
from leaderboards.runs.bases import calibration_images
from leaderboards.runs.prepare import prepare
from spaces.bases.names import SAME
from spaces.bits.layer_bits import BitTable, Choice, cross_bits
from spaces.bits.sensitivity import SENSITIVITIES
from spaces.bits.simulation import Simulator

Floats = NDArray[np.float64]
Found = TypeVar("Found")

WEIGHTS, ACTIVATIONS = (2, 3, 4, 6, 8), (4, 6, 8)
WALKS = {"sqnr": 1, "fisher": 2, "hessian": 6}  # forward passes' worth of work before any layer is rounded
CLAIMED = "fisher"
LEAST_OVERALL, LEAST_BEST, MOST_PASSES = 0.85, 0.60, 0.1


@dataclass(frozen=True, eq=False)
class _Measured:
    """Of n allocations, what each lost of the parent's.

    Attributes:
        map_drops: (n,) in mAP50-95.
        loss_rises: (n,) in task loss.
        seconds: for one of them, mean.
    """

    map_drops: Floats
    loss_rises: Floats
    seconds: float


def bit_sensitivity(*, data: str = "digits", n: str = "60", images: str = "256") -> Record:
    """Return the rank correlation of what Fisher information predicts with the measured drop of mAP.

    Args:
        data: a known data set.
        n: random allocations.
        images: of train are held out to measure them on, at most a third; of few, mAP does not tell the best apart.
    """
    n_allocations = read_count("n", n, least=20)
    parts = parts_of(data, f"search_images={read_count('images', images, least=1)}")
    rows = _rows(parts, n=n_allocations)
    claimed = next(row for row in rows if row["sensitivity"] == CLAIMED)
    overall, best = (_number(claimed[name]) for name in ("spearman_map", "spearman_map_best_fifth"))
    return Record(
        "bit_sensitivity",
        f"Spearman of predicted with measured mAP drop, {CLAIMED}, {n_allocations} random allocations, {data}",
        overall,
        f"at least {LEAST_OVERALL}, in the best fifth {LEAST_BEST}, with at most {MOST_PASSES:.0%} of the passes of "
        "rounding one layer at a time",
        overall >= LEAST_OVERALL and best >= LEAST_BEST and _number(claimed["passes"]) <= MOST_PASSES,
        rows,
        environment(),
        command("bit_sensitivity", data, f"n={n_allocations} images={images}"),
    )


def _rows(parts: Parts, *, n: int) -> list[dict[str, Cell]]:
    """Return a row for each sensitivity."""
    problem = prepare(parts)
    holdout, table = problem.inputs.holdout, BitTable(problem.bases[SAME].graph, cross_bits(WEIGHTS, ACTIVATIONS))
    calibration = calibration_images(
        holdout, parts.making.calibration_images, seed=parts.making.seed, imgsz=parts.bases.imgsz
    ).tensor()
    simulator = Simulator(problem.inputs.parent, calibration)
    scored, choices = load_images(holdout.search, imgsz=parts.bases.imgsz), draw_choices(table, n=n)
    measured = _measure(lambda model: score(model, scored), simulator, table, choices)
    rows: list[dict[str, Cell]] = []
    for name, measure in SENSITIVITIES.items():
        costs, seconds = _timed(partial(measure, simulator, table, calibration, seed=parts.ranking.seed))
        predicted = np.array([costs[np.arange(len(costs)), choice].sum() for choice in choices])
        passes = (WALKS[name] + 1 + len(table.options)) / costs.size
        row = {"sensitivity": name, "images": float(len(scored)), **_row(predicted, measured)}
        rows.append({**row, "passes": passes, "seconds": seconds})
    return rows


def draw_choices(table: BitTable, /, *, n: int) -> list[Choice]:
    """Return `n` seeded choices: of a random share of the layers any option, of the others the most bits."""
    choices = []
    for index in range(n):
        rng = np.random.default_rng([7, index])
        is_random = rng.random(len(table.layers)) < rng.random() ** 2  # a few layers of 2 bits already cost most
        options = rng.integers(len(table.options), size=len(table.layers))
        choices.append(np.where(is_random, options, len(table.options) - 1))
    return choices


def _measure(
    read: Callable[[DetectionModel], dict[str, float]], simulator: Simulator, table: BitTable, choices: list[Choice]
) -> _Measured:
    whole = simulator({})
    assert isinstance(whole, DetectionModel)
    parent, readings = read(whole), list[dict[str, float]]()
    started = time.perf_counter()
    for choice in choices:
        network = simulator(table.allocation(choice))
        assert isinstance(network, DetectionModel)
        readings.append(read(network))
    seconds = (time.perf_counter() - started) / len(choices)
    drops = np.array([parent[MAP.name] - reading[MAP.name] for reading in readings])
    return _Measured(drops, np.array([reading[LOSS.name] - parent[LOSS.name] for reading in readings]), seconds)


def _row(predicted: Floats, measured: _Measured) -> dict[str, Cell]:
    """Return rank correlations over all allocations and over the fifth that lost least, and the range of what was."""
    cells: dict[str, Cell] = {}
    for name, truth in (("map", measured.map_drops), ("loss", measured.loss_rises)):
        best = np.argsort(truth, kind="stable")[: len(truth) // 5]
        for suffix, part in (("", np.arange(len(truth))), ("_best_fifth", best)):
            found = correlate(predicted[part].tolist(), truth[part].tolist())
            cells[f"spearman_{name}{suffix}"] = found.spearman if found else "-"  # one value for all has no order
    low, high = float(measured.map_drops.min()), float(measured.map_drops.max())
    return cells | {"least_drop": low, "most_drop": high, "seconds_an_allocation": measured.seconds}


def _number(cell: Cell) -> float:
    return cell if isinstance(cell, float) else 0.0


def _timed(make: Callable[[], Found]) -> tuple[Found, float]:
    started = time.perf_counter()
    return make(), time.perf_counter() - started
