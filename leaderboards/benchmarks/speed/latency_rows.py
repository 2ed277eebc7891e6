"""The table of the latency benchmark: each way to predict against each way to measure."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.stats import spearmanr

from evaluators.devices.network_timer import Timings, times_ms
from evaluators.devices.predictor import Geometry, fit_macs
from evaluators.latency.turns import Comparison
from leaderboards.benchmarks.record import Cell
from leaderboards.benchmarks.speed.device_profile import Profile
from leaderboards.runs.problem import Problem

Floats = NDArray[np.float64]

OURS = "predictor"
PEER = "line over MACs"
AGAIN = "second visit"  # what the machine itself repeats
PAIRED = "beside the parent"  # the ratio to the parent, timed in turns, times the parent's own time
BUSY = "alone, busy"  # the thread's own clock
WALL = "alone, wall"
NEAR = 0.1


class _Visit(NamedTuple):
    """What one visit measured of the unseen networks, each (n,) in milliseconds."""

    paired: Floats
    busy: Floats
    wall: Floats


def latency_rows(
    problem: Problem, profile: Profile, timings: Timings, visits: Sequence[Timings], /
) -> list[dict[str, Cell]]:
    """Return for each precision the errors of predictor and peer, and what the second visit makes of the first.

    What is predicted is the mean of the two visits.

    Args:
        timings: what the profile was fitted to, and the peer is.
        visits: two, of the same networks in the same order; the shorter one counts.
    """
    n = min(len(visit.keep) for visit in visits)
    keep = visits[0].keep[:n]
    seen_macs, macs = (problem.space.population_costs(each)["macs_g"] for each in (timings.keep, keep))
    rows = []
    for name, rates, seen, pair in (
        ("fp32", profile.device.fp32, timings.fp32, [visit.fp32 for visit in visits]),
        ("int8", profile.device.int8, timings.int8, [visit.int8 for visit in visits]),
    ):
        constant, rate = fit_macs(seen_macs, times_ms(seen, rates.parent_ms))
        guesses = {OURS: rates.predictor()(Geometry.of(problem.graph), keep), PEER: constant + rate * macs}
        first, second = (_visit(each[:n], rates.parent_ms) for each in pair)
        for measured, one, other in zip((PAIRED, BUSY, WALL), first, second, strict=True):
            rows += [_row(name, guess, measured, guesses[guess], (one + other) / 2) for guess in guesses]
            rows.append(_row(name, AGAIN, measured, other, one))
    return rows


def _visit(comparisons: tuple[Comparison, ...], parent_ms: float) -> _Visit:
    busy, wall = (np.array([getattr(each, clock) for each in comparisons]) for clock in ("busy_ms", "wall_ms"))
    return _Visit(times_ms(comparisons, parent_ms), busy, wall)


def _row(precision: str, prediction: str, measured: str, guess: Floats, truth: Floats) -> dict[str, Cell]:
    errors = np.abs(guess / truth - 1)
    return {
        "precision": precision,
        "prediction": prediction,
        "measured": measured,
        "n": len(truth),
        "within_10": float(np.mean(errors <= NEAR)),
        "median_error": float(np.median(errors)),
        "p95_error": float(np.quantile(errors, 0.95)),
        "spearman": float(spearmanr(guess, truth).statistic),
    }
