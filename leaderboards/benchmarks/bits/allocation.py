"""A whole front of bit allocations in one sweep, against HiGHS point by point, on the same tables in the same run.

Sizes and BOPs are those of 90 convolutions of a yolov10n; latencies are those of a device that computes 4 bits twice as
fast as 8, and 8 as 16; costs fall fourfold with each bit, as rounding noise does, from log-normal sensitivities.
"""

import time
from dataclasses import dataclass

import numpy as np
from threadpoolctl import threadpool_limits

from leaderboards.benchmarks.arguments import read_count
from leaderboards.benchmarks.cuts.networks import untrained
from leaderboards.benchmarks.record import Cell, Record
from leaderboards.environment import environment
from spaces.bits.allocation import Allocated, Tables, allocate, allocate_front
from spaces.bits.layer_bits import WEIGHT_BITS, BitTable, cross_bits
from spaces.bits.prices import Floats
from spaces.channels.trace import trace_channels
from spaces.errors import OutOfReach

NETWORK, IMGSZ = "yolov10n", 640
N_LAYERS = 90
LOWEST, HIGHEST = 0.05, 0.95  # of the way from the least to the most of each resource, in logarithms
MACS_A_MS, BYTES_A_MS = 1e7, 1e7  # of the device, 16 bits at a time
SENSITIVITY_SPREAD, ACTIVATION_SPREAD, OPTION_SPREAD = 1.5, 0.7, 0.15  # of logarithms
GAP, SECONDS = 1e-4, 60.0  # of HiGHS, for a point
N_REPEATS = 5  # of the sweep, in turns with HiGHS
MOST_SECONDS, MOST_GAP = 2.0, 0.001


@dataclass(frozen=True, eq=False)
class _Task:
    """Costs (n_layers, n_options), resources (3, n_layers, n_options) and limits (n_points, 3)."""

    costs: Floats
    resources: Tables
    limits: Floats


@dataclass(frozen=True)
class _Outcome:
    """Of one table.

    Attributes:
        fronts_s: seconds of each sweep.
        fronts_cpu_s: its processor time, which other work on the machine does not stretch.
        solver_s: seconds of HiGHS for each point.
        gaps: cost of the sweep over that of HiGHS, less 1, at each point.
        gaps_to_bounds: the same over the bound that HiGHS proves.
        n_failed: points that HiGHS or the sweep missed.
    """

    fronts_s: tuple[float, ...]
    fronts_cpu_s: tuple[float, ...]
    solver_s: tuple[float, ...]
    gaps: tuple[float, ...]
    gaps_to_bounds: tuple[float, ...]
    n_failed: int


def allocation(*, points: str = "50", seeds: str = "2") -> Record:
    """Return the seconds of a front of `points` allocations, median over repeats, the slowest of `seeds` tables.

    Args:
        points: of a front.
        seeds: how many tables of costs.
    """
    n_points, n_seeds = read_count("points", points, least=2), read_count("seeds", seeds, least=1)
    graph = trace_channels(untrained(NETWORK), imgsz=IMGSZ)
    table = BitTable(graph, cross_bits(WEIGHT_BITS, (4, 6, 8)))
    with threadpool_limits(1):
        outcomes = [_race(_task(table, n_points=n_points, seed=seed)) for seed in range(n_seeds)]
    rows: list[dict[str, Cell]] = [{"seed": seed, **_row(outcome)} for seed, outcome in enumerate(outcomes)]
    slowest = max(float(row["front_s"]) for row in rows)
    is_close = all(float(row["worst_gap"]) <= MOST_GAP and not row["failures"] for row in rows)
    return Record(
        "allocation",
        f"seconds for a front of {n_points} points, {N_LAYERS} layers x {len(table.options)} options x 3 budgets, "
        "median of repeats, the slowest table",
        slowest,
        f"at most {MOST_SECONDS:g} s, each point at most {MOST_GAP:.1%} above HiGHS, no failures",
        slowest <= MOST_SECONDS and is_close,
        rows,
        environment(),
        f"python run_search.py bench allocation points={n_points} seeds={n_seeds} --json",
    )


def _task(table: BitTable, *, n_points: int, seed: int) -> _Task:
    rng = np.random.default_rng(seed)
    tables = table.tables()
    resources = np.stack([tables["size_mb"], tables["bops_g"], _latencies(tables["size_mb"], tables["bops_g"], table)])
    resources, bits = resources[:, :N_LAYERS], table.bits[:N_LAYERS]
    weights = np.exp(rng.normal(0, SENSITIVITY_SPREAD, (N_LAYERS, 1)))
    activations = np.exp(rng.normal(0, ACTIVATION_SPREAD, (N_LAYERS, 1)))
    noise = np.exp(rng.normal(0, OPTION_SPREAD, bits.shape[:2]))
    costs = weights * (4.0 ** -bits[..., 0] + activations * 4.0 ** -bits[..., 1]) * noise
    low, high = resources.min(2).sum(1), resources.max(2).sum(1)
    return _Task(costs, resources, low * (high / low) ** np.linspace(LOWEST, HIGHEST, n_points)[:, None])


def _latencies(size_mb: Floats, bops_g: Floats, table: BitTable) -> Floats:
    """Return milliseconds: of computing in 4, 8 or 16 bits, as both factors need, and of reading the weights."""
    macs = bops_g * 1e9 / table.bits.prod(2)
    width = np.array([4, 8, 16])[np.searchsorted([4, 8, 16], table.bits.max(2))]
    return np.asarray(macs / MACS_A_MS * width / 16 + size_mb * 1e6 / BYTES_A_MS)


def _race(task: _Task) -> _Outcome:
    """Solve `task` both ways, sweeps between the points of HiGHS."""
    fronts_s, fronts_cpu_s, solver_s = list[float](), list[float](), list[float]()
    front: list[Allocated] = []
    solved: list[Allocated | None] = []
    for part in np.array_split(np.arange(len(task.limits)), N_REPEATS):
        started, started_cpu = time.perf_counter(), time.process_time()
        front = allocate_front(task.costs, task.resources, task.limits)
        fronts_s.append(time.perf_counter() - started)
        fronts_cpu_s.append(time.process_time() - started_cpu)
        for index in part:
            started = time.perf_counter()
            solved.append(_solved(task, int(index)))
            solver_s.append(time.perf_counter() - started)
    is_within = [_is_within(task, index, point) for index, point in enumerate(front)]
    pairs = [(ours, exact) for ours, exact in zip(front, solved, strict=True) if exact is not None]
    return _Outcome(
        tuple(fronts_s),
        tuple(fronts_cpu_s),
        tuple(solver_s),
        tuple(ours.cost / exact.cost - 1 for ours, exact in pairs),
        tuple(ours.cost / exact.bound - 1 for ours, exact in pairs),
        len(front) - len(pairs) + is_within.count(False),
    )


def _solved(task: _Task, index: int) -> Allocated | None:
    try:
        return allocate(task.costs, task.resources, task.limits[index], gap=GAP, seconds=SECONDS)
    except OutOfReach:  # not in time: every point is within reach
        return None


def _is_within(task: _Task, index: int, point: Allocated) -> bool:
    """Return whether `point` keeps its limits and costs what it says."""
    rows = np.arange(len(task.costs))
    used = task.resources[:, rows, point.choice].sum(1)
    return bool((used <= task.limits[index] * (1 + 1e-12)).all() and point.cost == task.costs[rows, point.choice].sum())


def _row(outcome: _Outcome) -> dict[str, Cell]:
    front_s, solver_s = float(np.median(outcome.fronts_s)), float(np.sum(outcome.solver_s))
    return {
        "front_s": front_s,
        "slowest_front_s": max(outcome.fronts_s),
        "front_cpu_s": float(np.median(outcome.fronts_cpu_s)),
        "highs_s": solver_s,
        "highs_over_front": solver_s / front_s,
        "worst_gap": max(outcome.gaps, default=float("inf")),
        "mean_gap": float(np.mean(outcome.gaps)) if outcome.gaps else float("inf"),
        "worst_gap_to_bound": max(outcome.gaps_to_bounds, default=float("inf")),
        "failures": outcome.n_failed,
    }
