"""Is a ladder of proxies worth its time? A search with one and a search without, given equal seconds.

Seconds are those of this process on its one thread, so other work on the machine does not count. The better of two
searches is the one whose best candidate loses less on the hold-out; as the best of many is flattered by being chosen
there, its loss on other images of train stands beside it.
"""

import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import mean

from evaluators.accuracy.detection import task_loss
from evaluators.data.images import Images
from evaluators.metric import LOSS
from evaluators.result import Result, Status
from evaluators.worker import Supernets, make_measure
from leaderboards.benchmarks.arguments import command, parts_of, read_count
from leaderboards.benchmarks.record import Cell, Record
from leaderboards.environment import environment
from leaderboards.recipes.keys import EMBEDDED
from leaderboards.recipes.parts import Parts, Ranking
from leaderboards.runs.bases import calibration_images
from leaderboards.runs.fidelities import fidelity_proxies, on_ladder
from leaderboards.runs.prepare import prepare
from leaderboards.runs.problem import Problem
from leaderboards.runs.strategies import strategy_of
from leaderboards.runs.studies import make_supernets
from search.executor import InProcess
from search.journal import Journal
from search.loop import search
from spaces.build import Builder
from spaces.candidate import Candidate
from spaces.networks.threads import one_thread
from spaces.recovery.recovery import Recovery

N_OTHERS = 3  # times as many images as calibrate, of train and not used in the search


@dataclass(frozen=True, eq=False)
class _Testbed:
    """What all searches of one benchmark share."""

    problem: Problem
    supernets: Supernets
    others: tuple[Images, ...]
    build: Builder


@dataclass(frozen=True)
class _Ended:
    """A result and the seconds from the start of its search to its end."""

    seconds: float
    result: Result


def ladder(
    *,
    data: str = EMBEDDED,
    ladder: str = "block_loss:20,loss_one_shot:4",
    strategy: str = "informed",
    budget: str = "50",
    n: str = "48",
    seeds: str = "3",
) -> Record:
    """Return by how much less the best candidate loses where a search has a ladder, at equal seconds.

    Args:
        data: digits, or bccd or coco128 where REAL_DATA leads to them.
        ladder: as the key of a recipe.
        budget: of the parent's MACs in percent.
        n: candidates that each search measures.
    """
    words = [f"gflops={read_count('budget', budget, least=1)}%", f"strategy={strategy}", "proxy=loss", "workers=1"]
    words += [f"candidates={read_count('n', n, least=2)}", f"ladder={ladder}"]
    parts, n_seeds = parts_of(data, *words), read_count("seeds", seeds, least=1)
    with one_thread():
        testbed = _testbed(parts)
        rows = [row for seed in range(n_seeds) for row in _rows(parts, testbed, seed=seed)]
    gain = mean(_column(rows, "none")) - mean(_column(rows, ladder))
    asked = f"ladder={ladder} strategy={strategy} budget={budget} n={n} seeds={seeds}"
    return Record(
        f"ladder_{data}",
        "hold-out task loss of the best candidate without the ladder above that with it, at equal seconds",
        gain,
        "above 0",
        gain > 0,
        rows,
        environment(),
        command("ladder", data, asked),
    )


def _testbed(parts: Parts) -> _Testbed:
    problem = prepare(parts)
    supernets = make_supernets(parts.making, problem)
    n_used = parts.making.calibration_images
    n_all = (1 + N_OTHERS) * n_used
    drawn = calibration_images(problem.inputs.holdout, n_all, seed=parts.making.seed, imgsz=parts.bases.imgsz)
    _, *others = drawn.parts(n_used)
    return _Testbed(problem, supernets, tuple(others), supernets.same.builder("cpu"))


def _rows(parts: Parts, testbed: _Testbed, *, seed: int) -> Iterator[dict[str, Cell]]:
    """Yield a row for the search without the ladder and one for that with it, of one seed."""
    ranking = replace(parts.ranking, seed=seed)
    written = ",".join(f"{fidelity.proxy}:{fidelity.factor}" for fidelity in ranking.ladder)
    both = {
        "none": _search(replace(ranking, ladder=()), testbed),
        written: _search(ranking, testbed),
    }
    least = min(ended[-1].seconds for ended in both.values())
    least = max(least, *(ended[0].seconds for ended in both.values()))  # a ladder is climbed before the first result
    for name, ended in both.items():
        in_time = [one for one in ended if one.seconds <= least]
        best = _best(in_time)
        yield {
            "seed": float(seed),
            "ladder": name,
            "seconds": least,
            "measured": float(len(in_time)),
            "loss": best.readings[LOSS.name],
            "loss_elsewhere": _loss_elsewhere(best.candidate, parts.making.recovery, testbed),
            "seconds_of_all": ended[-1].seconds,
            "loss_of_all": _best(ended).readings[LOSS.name],
        }


def _search(ranking: Ranking, testbed: _Testbed) -> list[_Ended]:
    """Return what a search comes to, in the order of time."""
    problem, ended = testbed.problem, list[_Ended]()
    holdout = problem.inputs.holdout.search
    measure = make_measure(
        testbed.supernets,
        holdout,
        problem.budget,
        device="cpu",
        proxy=ranking.proxy,
        fidelities=fidelity_proxies(ranking.ladder),
    )
    executor, started = InProcess(measure), time.process_time()
    with tempfile.TemporaryDirectory() as folder, Journal(Path(folder) / "journal.jsonl", {}) as journal:
        strategy = strategy_of(ranking, problem, testbed.supernets)
        search(
            on_ladder(
                strategy,
                ladder=ranking.ladder,
                n_candidates=ranking.candidates,
                limits=problem.limits,
                supernets=testbed.supernets,
                executor=executor,
                journal=journal,
            ),
            executor,
            journal,
            n_candidates=ranking.candidates,
            seed=ranking.seed,
            on_result=lambda result: ended.append(_Ended(time.process_time() - started, result)),
        )
    return ended


def _loss_elsewhere(candidate: Candidate, recovery: Recovery, testbed: _Testbed) -> float:
    network = testbed.build(candidate, recovery)
    return mean(task_loss(network, images) for images in testbed.others)


def _best(ended: list[_Ended]) -> Result:
    done = [one.result for one in ended if one.result.status is Status.DONE]
    return min(done, key=lambda result: result.readings[LOSS.name])


def _column(rows: list[dict[str, Cell]], name: str) -> list[float]:
    return [float(row["loss"]) for row in rows if row["ladder"] == name]
