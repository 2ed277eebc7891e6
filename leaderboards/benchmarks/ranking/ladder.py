"""Is a ladder of proxies worth its time? A search with one and a search without, given equal seconds.

Seconds are those of this process on its one thread, so other work on the machine does not count. The better of two
searches is the one whose best candidate loses less on the hold-out; as the best of many is flattered by being chosen
there, its loss on other images of train stands beside it.
"""

import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import mean

from evaluators.accuracy.detection import task_loss
from evaluators.data.images import Images
from evaluators.metric import LOSS
from evaluators.result import Result, Status
from evaluators.worker import Workshop, make_measure
from leaderboards.benchmarks.record import Cell, Record
from leaderboards.benchmarks.setting import command, read_count, recipe_of
from leaderboards.environment import environment
from leaderboards.recipes.recipe import EMBEDDED, Recipe
from leaderboards.runs.bases import calibration_images
from leaderboards.runs.prepare import prepare
from leaderboards.runs.problem import Problem
from leaderboards.runs.rungs import on_ladder, rung_proxies
from leaderboards.runs.strategies import make_strategy
from leaderboards.runs.studies import make_workshop
from search.executor import InProcess
from search.journal import Journal
from search.loop import search
from spaces.build import Builder
from spaces.candidate import Candidate
from spaces.networks.threads import one_thread

N_OTHERS = 3  # times as many images as calibrate, of train and not used in the search


@dataclass(frozen=True, eq=False)
class _Ground:
    """What all searches of one benchmark share."""

    problem: Problem
    workshop: Workshop
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
    recipe, n_seeds = recipe_of(data, *words), read_count("seeds", seeds, least=1)
    with one_thread():
        ground = _ground(recipe)
        rows = [row for seed in range(n_seeds) for row in _rows(recipe.model_copy(update={"seed": seed}), ground)]
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


def _ground(recipe: Recipe) -> _Ground:
    problem = prepare(recipe)
    workshop = make_workshop(recipe, problem)
    n_used = recipe.calibration_images
    more = recipe.model_copy(update={"calibration_images": (1 + N_OTHERS) * n_used})
    _, *others = calibration_images(more, problem.inputs.holdout, imgsz=recipe.imgsz).parts(n_used)
    return _Ground(problem, workshop, tuple(others), workshop.same.builder("cpu"))


def _rows(recipe: Recipe, ground: _Ground) -> Iterator[dict[str, Cell]]:
    """Yield a row for the search without the ladder and one for that with it, of one seed."""
    both = {
        "none": _search(recipe.model_copy(update={"ladder": ()}), ground),
        ",".join(recipe.ladder): _search(recipe, ground),
    }
    least = min(ended[-1].seconds for ended in both.values())
    least = max(least, *(ended[0].seconds for ended in both.values()))  # a ladder is climbed before the first result
    for name, ended in both.items():
        in_time = [one for one in ended if one.seconds <= least]
        best = _best(in_time)
        yield {
            "seed": float(recipe.seed),
            "ladder": name,
            "seconds": least,
            "measured": float(len(in_time)),
            "loss": best.readings[LOSS.name],
            "loss_elsewhere": _loss_elsewhere(best.candidate, recipe, ground),
            "seconds_of_all": ended[-1].seconds,
            "loss_of_all": _best(ended).readings[LOSS.name],
        }


def _search(recipe: Recipe, ground: _Ground) -> list[_Ended]:
    """Return what a search comes to, in the order of time."""
    problem, ended = ground.problem, list[_Ended]()
    holdout = problem.inputs.holdout.search
    measure = make_measure(
        ground.workshop, holdout, problem.budget, device="cpu", proxy=recipe.proxy, rungs=rung_proxies(recipe)
    )
    executor, started = InProcess(measure), time.process_time()
    with tempfile.TemporaryDirectory() as folder, Journal(Path(folder) / "journal.jsonl", {}) as journal:
        strategy = make_strategy(recipe, problem, ground.workshop)
        search(
            on_ladder(strategy, recipe, problem, workshop=ground.workshop, executor=executor, journal=journal),
            executor,
            journal,
            n_candidates=recipe.candidates,
            seed=recipe.seed,
            on_result=lambda result: ended.append(_Ended(time.process_time() - started, result)),
        )
    return ended


def _loss_elsewhere(candidate: Candidate, recipe: Recipe, ground: _Ground) -> float:
    network = ground.build(candidate, recipe.recovery)
    return mean(task_loss(network, images) for images in ground.others)


def _best(ended: list[_Ended]) -> Result:
    done = [one.result for one in ended if one.result.status is Status.DONE]
    return min(done, key=lambda result: result.readings[LOSS.name])


def _column(rows: list[dict[str, Cell]], name: str) -> list[float]:
    return [float(row["loss"]) for row in rows if row["ladder"] == name]
