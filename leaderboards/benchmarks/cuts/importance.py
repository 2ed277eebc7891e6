"""Which channels should stay? Every importance at the same widths, and at those that its own losses allocate.

All networks of a budget have equal MACs, and nothing is trained: what differs is which channels went. The score is mAP
on the hold-out of train; val is not looked at, for the default follows from this table.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace

import numpy as np

from evaluators.accuracy.detection import score
from evaluators.data.images import Images, load_images
from evaluators.worker import Studied
from leaderboards.benchmarks.arguments import command, parts_of, read_shares
from leaderboards.benchmarks.record import Cell, Record
from leaderboards.environment import environment
from leaderboards.recipes.keys import EMBEDDED
from leaderboards.recipes.parts import Making
from leaderboards.runs.prepare import prepare
from leaderboards.runs.problem import Problem
from leaderboards.runs.studies import make_supernets
from spaces.candidate import Candidate
from spaces.importance.by_name import Importance
from spaces.informed_space import InformedSpace
from spaces.networks.threads import one_thread
from spaces.recovery.recovery import Recovery

RECOVERIES = (Recovery.ADAPTIVE_BN, Recovery.RECONSTRUCT)
UNIFORM, ALLOCATED = "uniform", "allocated"
PUBLISHED = tuple(each for each in Importance if each not in (Importance.GREEDY, Importance.CONTRIBUTION))


def importance(*, data: str = EMBEDDED, budgets: str = "50,40") -> Record:
    """Return by how much mAP50-95 the default importance is above the best of the published ones, at its worst.

    Compared are reconstructed networks at allocated widths, as a run makes them.

    Args:
        data: digits, or bccd or coco128 where REAL_DATA leads to them.
        budgets: of the parent's MACs in percent.
    """
    shares, parts = read_shares("budgets", budgets), parts_of(data)
    problem = prepare(parts)
    holdout = load_images(problem.inputs.holdout.search, imgsz=parts.bases.imgsz)
    with one_thread():
        rows = [row for each in Importance for row in _rows(parts.making, problem, holdout, each=each, shares=shares)]
    gain = min(_gain(rows, share) for share in shares)
    return Record(
        f"importance_{data}",
        "hold-out mAP50-95 of greedy channels above that of the best published importance, the least over budgets",
        gain,
        "at least 0",
        gain >= 0,
        rows,
        environment(),
        command("importance", data, f"budgets={budgets}"),
    )


def _rows(
    making: Making, problem: Problem, holdout: Images, *, each: Importance, shares: list[float]
) -> Iterator[dict[str, Cell]]:
    """Yield a row for each budget and way to set the widths."""
    studied = make_supernets(replace(making, importance=each), problem).same
    build = studied.builder("cpu")
    for share in shares:
        limits = {"macs_g": share * problem.parent_costs["macs_g"]}
        for widths, candidate in _candidates(studied, limits).items():
            maps = {recovery.value: score(build(candidate, recovery), holdout)["map50_95"] for recovery in RECOVERIES}
            yield {"importance": each.value, "macs_kept": share, "widths": widths, **maps}


def _candidates(studied: Studied, limits: Mapping[str, float]) -> dict[str, Candidate]:
    space, rng = studied.base.space, np.random.default_rng(0)
    informed = InformedSpace(space, studied.study.losses)
    return {
        UNIFORM: space.sample(rng, limits=limits, diversity=0.0),
        ALLOCATED: informed.sample(rng, limits=limits, diversity=0.0),
    }


def _gain(rows: list[dict[str, Cell]], share: float) -> float:
    found = {
        str(row["importance"]): float(row[Recovery.RECONSTRUCT.value])
        for row in rows
        if row["macs_kept"] == share and row["widths"] == ALLOCATED
    }
    return found[Importance.GREEDY] - max(found[each] for each in PUBLISHED)
