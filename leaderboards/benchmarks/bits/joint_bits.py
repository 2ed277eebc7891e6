"""Is it better to search widths and bits together, or to prune first and to allocate bits after?

Both sides have the same evaluations, limits, losses of widths and of bits, and NSGA-II. The second spends half of its
evaluations on float networks within the MACs, and the other half on the bits of the best of these. What is compared is
the volume that each side's front covers in mAP on the hold-out of train, size and MACs, nothing trained.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import mean

import numpy as np

from evaluators.budget import Budget
from evaluators.metric import MACS, MAP, SIZE
from evaluators.result import Result, Status
from evaluators.worker import Supernets, make_measure
from leaderboards.benchmarks.arguments import command, parts_of, read_count, read_shares
from leaderboards.benchmarks.record import Cell, Record
from leaderboards.environment import environment
from leaderboards.recipes.keys import EMBEDDED
from leaderboards.run_path import run_folder
from leaderboards.runs.prepare import prepare
from leaderboards.runs.problem import Problem
from leaderboards.runs.run import pick_front
from leaderboards.runs.studies import make_supernets
from search.executor import InProcess
from search.journal import Journal
from search.loop import search
from search.pareto import hypervolume, is_front, losses
from search.strategies.evolution import NSGA2
from spaces.bits.bit_space import BitSpace
from spaces.candidate import Candidate
from spaces.errors import NothingFeasible
from spaces.informed_space import InformedSpace
from spaces.networks.threads import one_thread
from spaces.searchable import SearchSpace

OBJECTIVES = (MAP, SIZE, MACS)
N_PRUNED = 8  # of the float search, whose bits are then searched
SIDES = ("together", "one after the other")


class Pruned:
    """Networks whose widths are settled, in the place of a space that is still to be cut."""

    def __init__(self, candidates: Sequence[Candidate]) -> None:
        self._candidates = candidates

    def check(self, limits: Mapping[str, float], /) -> None:
        """Refuse nothing."""

    def sample(self, rng: np.random.Generator, /, *, limits: Mapping[str, float], diversity: float = 1.0) -> Candidate:  # noqa: ARG002 (they meet them)
        """Return any of them."""
        return self._candidates[int(rng.integers(len(self._candidates)))]

    def mutate(self, candidate: Candidate, rng: np.random.Generator, /, *, limits: Mapping[str, float]) -> Candidate:  # noqa: ARG002 (they meet them)
        """Return `candidate`."""
        return candidate

    def cross(
        self,
        first: Candidate,
        second: Candidate,
        rng: np.random.Generator,
        /,
        *,
        limits: Mapping[str, float],  # noqa: ARG002 (they meet them)
    ) -> Candidate:
        """Return one of the two."""
        return first if rng.random() < 0.5 else second

    def fill(self, candidate: Candidate, rng: np.random.Generator, /, *, limits: Mapping[str, float]) -> Candidate:  # noqa: ARG002 (they meet them)
        """Return `candidate`."""
        return candidate


@dataclass(frozen=True, eq=False)
class JointSearch:
    """Both sides with one seed.

    Attributes:
        n: evaluations of each side.
        folder: where their journals are kept.
    """

    problem: Problem
    supernets: Supernets
    n: int
    seed: int
    folder: Path

    def together(self) -> list[Result]:
        """Return the results of one search over widths and bits."""
        return self._searched("together", self._with_bits(self._informed), self.problem.limits, n=self.n)

    def one_after_the_other(self) -> list[Result]:
        """Return the results of a search of bits over the best networks of a search of widths.

        Raises:
            NothingFeasible: no bits are few enough for any of these networks.
        """
        macs = {MACS.name: self.problem.limits[MACS.name]}
        pruned = self._searched("pruned", self._informed, macs, n=self.n // 2)
        best = [result.candidate for result in pick_front(pruned, (MAP, MACS), N_PRUNED)]
        fitting = [candidate for candidate in best if self._fits(candidate)]
        if not fitting:
            raise NothingFeasible(f"size: none of the {len(best)} pruned networks fits, whatever its bits")
        space = self._with_bits(Pruned(fitting))
        return self._searched("quantized", space, self.problem.limits, n=self.n - self.n // 2)

    @property
    def _informed(self) -> InformedSpace:
        same = self.supernets.same
        return InformedSpace(same.base.space, same.study.losses)

    def _with_bits(self, widths: SearchSpace) -> BitSpace:
        same = self.supernets.same
        assert same.base.table is not None
        return BitSpace(same.base.space, widths, same.base.table, sensitivity=same.study.bit_losses)

    def _fits(self, candidate: Candidate) -> bool:
        table, keep = self.supernets.same.base.table, self.supernets.same.base.space.decode(candidate)
        assert table is not None
        least = table.tables(keep)[SIZE.name].min(1).sum() + table.fixed(keep)[SIZE.name]
        return bool(least <= self.problem.limits[SIZE.name])

    def _searched(self, name: str, space: SearchSpace, limits: Mapping[str, float], *, n: int) -> list[Result]:
        objectives = tuple(metric for metric in OBJECTIVES if metric is MAP or metric.name in limits)
        strategy = NSGA2(space, limits, objectives)
        holdout, identity = self.problem.inputs.holdout.search, {"limits": dict(self.problem.limits), "n": self.n}
        executor = InProcess(make_measure(self.supernets, holdout, Budget(limits), device="cpu"))
        with Journal(self.folder / f"{name}-{self.seed}.jsonl", identity) as journal:
            return search(strategy, executor, journal, n_candidates=n, seed=self.seed, on_result=lambda _: None)


def joint_bits(
    *, n: str = "96", seeds: str = "3", macs: str = "50", size: str = "8", out: str = "joint-bits"
) -> Record:
    """Return how much more a joint search covers than pruning first and allocating bits after, on digits.

    Args:
        n: evaluations of each side.
        macs: the limit on MACs in percent of the parent's; `size` that on its float size.
        out: a run folder for the journals; what is there already is not measured again.
    """
    n_evaluations, n_seeds = read_count("n", n, least=4), read_count("seeds", seeds, least=1)
    for key, value in (("macs", macs), ("size", size)):
        read_shares(key, value)
    parts = parts_of(EMBEDDED, "bits=2,3,4,6,8", f"macs_g={macs}%", f"size_mb={size}%")
    problem, folder = prepare(parts), run_folder(out)
    rows = []
    with one_thread():
        for seed in range(n_seeds):
            own = folder / f"seed-{seed}"
            own.mkdir(parents=True, exist_ok=True)
            supernets = make_supernets(replace(parts.making, seed=seed), problem, folder=own)
            search_of_seed = JointSearch(problem, supernets, n_evaluations, seed, own)
            for side, results in zip(
                SIDES, (search_of_seed.together(), search_of_seed.one_after_the_other()), strict=True
            ):
                rows.append({"seed": str(seed), "side": side, **covered(results, problem.limits)})
    together, apart = (mean(float(row["hypervolume"]) for row in rows if row["side"] == side) for side in SIDES)
    return Record(
        "joint_bits",
        f"hypervolume of the joint search over that of pruning first, mean of {n_seeds} seeds each",
        together / apart if apart else float("inf"),
        "above 1",
        together > apart,
        rows,
        environment(),
        command("joint_bits", EMBEDDED, f"n={n} seeds={seeds} macs={macs} size={size}").replace(" data=digits", ""),
    )


def covered(results: Sequence[Result], limits: Mapping[str, float], /) -> dict[str, Cell]:
    """Return what a side came to: the volume up to mAP 0 and the limits, which count as 1 each, and its best mAP."""
    done = [result for result in results if result.status is Status.DONE]
    points = losses(done, OBJECTIVES) / [1.0, limits[SIZE.name], limits[MACS.name]]
    best = min(done, key=lambda result: -result.readings[MAP.name], default=None)
    return {
        "hypervolume": hypervolume(points, reference=(0.0, 1.0, 1.0)),
        "n_front": float(is_front(points).sum()) if done else 0.0,
        "best_map50_95": best.readings[MAP.name] if best else 0.0,
        "its_size_mb": best.readings[SIZE.name] if best else 0.0,
        "its_macs_g": best.readings[MACS.name] if best else 0.0,
        "n_within": float(len(done)),
        "seconds": sum(result.seconds for result in results),
    }
