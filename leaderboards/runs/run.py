"""A run from recipe to leaderboard: search, fine-tune the front, measure the rows, write everything down.

Every step looks into the journal and the rows' folders first and does only what is missing, so the same command
resumes a run from wherever it was stopped.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import yaml

from evaluators.metric import Metric
from evaluators.result import Result, Status
from evaluators.worker import Workshop, make_measure
from leaderboards.leaderboard import Leaderboard
from leaderboards.recipes.recipe import Recipe
from leaderboards.recipes.strategy_keys import METHODS
from leaderboards.reports.publish import publish
from leaderboards.run_folder import BASE, SPACE
from leaderboards.runs.clock import Clock
from leaderboards.runs.methods.rounds import check_method, run_method
from leaderboards.runs.placing import device_of, idle_executor, start_executor
from leaderboards.runs.problem import Inputs, Problem, fingerprint
from leaderboards.runs.rows import finish_rows
from leaderboards.runs.rungs import on_ladder, rung_proxies
from leaderboards.runs.strategies import make_strategy, objectives
from leaderboards.runs.studies import graft_backbones, make_workshop
from leaderboards.watcher import Watcher
from search import on_ray
from search.journal import Journal, check_recipe
from search.loop import search
from search.pareto import losses, select_spread
from spaces.bases.base import SAME
from spaces.detectors.backbones.pretrained import read_weight_paths
from spaces.errors import BadInput, NothingFeasible
from spaces.files import write_atomic
from spaces.space import Space


def run(recipe: Recipe, problem: Problem, watcher: Watcher, /) -> Leaderboard:
    """Return the leaderboard of the run, with every file of the run folder written.

    Raises:
        BadInput: the run folder belongs to another recipe or is in use.
        Interrupted: stopped by a signal; everything finished is on disk.
        NothingFeasible: the search found no candidate within the limits.
    """
    check_method(recipe, problem)
    folder = recipe.folder
    on_ray.start(recipe.ray_address, recipe.workers)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with Journal(folder / "journal.jsonl", _identity(recipe, problem.inputs)) as journal:
            write_atomic(folder / "recipe.yaml", yaml.safe_dump(recipe.model_dump(mode="json"), sort_keys=False))
            problem = _settle(recipe, problem, journal)
            for note in missing_images(recipe, problem.inputs):
                watcher.stage(note)
            grafted = graft_backbones(recipe, problem, watcher)
            watcher.stage("studying the parent" if len(problem.bases) == 1 else f"studying {len(problem.bases)} bases")
            workshop = make_workshop(recipe, problem, grafted=grafted, folder=folder)
            if recipe.strategy in METHODS:
                problem, workshop, front = run_method(recipe, problem, workshop, journal, Clock(watcher, journal))
            else:
                results = _search(recipe, problem, workshop, journal, Clock(watcher, journal))
                front = pick_front(results, objectives(recipe, problem), recipe.front)
                if not front:
                    raise NothingFeasible(_nearest_miss(results, problem))
            _note_bases(workshop, journal)
            finish_rows(recipe, problem, workshop, front, journal, watcher)
    finally:
        on_ray.stop()
    watcher.stage("writing the leaderboard")
    return publish(folder)


def check_folder(recipe: Recipe, inputs: Inputs, /) -> None:
    """Make sure that the run folder can take this run, without writing anything.

    Raises:
        BadInput: it is no folder, cannot be written, holds something else, or a run of another recipe; or the files
            of `backbone_weights` are not there.
    """
    folder, identity = recipe.folder, _identity(recipe, inputs)
    journal = folder / "journal.jsonl"
    nearest = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    if not nearest.is_dir() or not os.access(nearest, os.W_OK):
        raise BadInput(f"out: {str(nearest)!r} is no folder that can be written to")
    if journal.exists():
        check_recipe(journal, Journal.read(journal).header, identity)
    elif folder.is_dir() and any(folder.iterdir()):
        raise BadInput(f"out: {str(folder)!r} is not empty and holds no run")


def known_results(folder: Path, /) -> list[Result]:
    """Return what an earlier call has measured already in the run folder `folder`."""
    path = folder / "journal.jsonl"
    return list(Journal.read(path).results.values()) if path.exists() else []


def pick_front(results: Sequence[Result], objectives: tuple[Metric, ...], n: int, /) -> list[Result]:
    """Return up to `n` results to fine-tune: the best by proxy, then those that span the front most widely."""
    done = [result for result in results if result.status is Status.DONE]
    if not done:
        return []
    points = losses(done, objectives)
    best = int(np.lexsort(points.T[::-1])[0])  # ties of the proxy go to the cheaper
    order = [best, *(int(index) for index in select_spread(points, n) if index != best)]
    unique = {done[index].candidate.id: done[index] for index in order}
    return list(unique.values())[:n]


def _search(recipe: Recipe, problem: Problem, workshop: Workshop, journal: Journal, watcher: Watcher) -> list[Result]:
    n_known = len(journal.results)
    watcher.stage(f"searching {recipe.candidates} candidates by {recipe.strategy}, {n_known} known already")
    make = partial(
        make_measure,
        workshop,
        problem.inputs.holdout.search,
        problem.budget,
        device=device_of(recipe),
        proxy=recipe.proxy,
        rungs=rung_proxies(recipe),
    )
    executor = idle_executor() if n_known >= recipe.candidates else start_executor(recipe, make)
    try:
        return search(
            on_ladder(
                make_strategy(recipe, problem, workshop),
                recipe,
                problem,
                workshop=workshop,
                executor=executor,
                journal=journal,
            ),
            executor,
            journal,
            n_candidates=recipe.candidates,
            seed=recipe.seed,
            on_result=watcher.on_result,
        )
    finally:
        executor.close()


def missing_images(recipe: Recipe, inputs: Inputs, /) -> list[str]:
    """Return a sentence for each key that asks for more images than there are; the run uses those that are."""
    there = {"calibration_images": len(inputs.holdout.rest), "search_images": len(inputs.holdout.search)}
    asked = {"calibration_images": recipe.calibration_images, "search_images": recipe.search_images}
    return [
        f"{key}={asked[key]} was asked for, train has {n} to give, which are used."
        for key, n in there.items()
        if n < asked[key]
    ]


def _settle(recipe: Recipe, problem: Problem, journal: Journal) -> Problem:
    """Return `problem` with the limits and costs the run began with: the parent's latency is measured only once.

    Both decide what is proposed; measured anew, a resumed search would propose other candidates than the journal has.
    """
    if not journal.records(SPACE):
        notes = [*problem.notes(), *missing_images(recipe, problem.inputs)]
        began = {"limits": dict(problem.limits), "parent": dict(problem.parent_costs)}
        journal.append(SPACE, {**began, "blocks": _blocks(problem.space), "notes": notes})
    facts = journal.records(SPACE)[0]
    limits, costs = facts["limits"], facts.get("parent", problem.parent_costs)  # older runs have none
    assert isinstance(limits, Mapping)
    assert isinstance(costs, Mapping)
    return replace(problem, limits=limits, parent_costs=costs)


def _note_bases(workshop: Workshop, journal: Journal) -> None:
    """Write down once which blocks each base but the parent has: the report shows its candidates by them."""
    known = {SAME, *(record["name"] for record in journal.records(BASE))}
    for name, studied in workshop.bases.items():
        if name not in known:
            journal.append(BASE, {"name": name, "blocks": _blocks(studied.base.space)})


def _blocks(space: Space) -> list[tuple[str, int]]:
    return [(gene.name, gene.size) for gene in space.genes]


def _identity(recipe: Recipe, inputs: Inputs) -> dict[str, object]:
    """Return what a journal must agree with to be gone on with: the settings, and the contents behind the paths."""
    device = None if inputs.device is None else inputs.device.fingerprint
    contents = {"weights": inputs.fingerprint, "data": inputs.dataset.fingerprint, "device_file": device}
    if recipe.backbone_weights is None:
        return {**recipe.identity(), **contents}
    files = read_weight_paths(recipe.backbone_weights)
    pretrained = {name: fingerprint(path) for name, path in files.items()}
    return {**recipe.identity(), **contents, "backbone_weights": pretrained}


def _nearest_miss(results: Sequence[Result], problem: Problem) -> str:
    over = [result for result in results if result.status is Status.OVER_BUDGET]
    if not over:
        return f"all {len(results)} candidates failed; the first error is: {results[0].error}"
    nearest = min(over, key=lambda result: problem.budget.excess(result.readings))
    values = ", ".join(
        f"{name} {nearest.readings[name]:.4g} (limit {limit:.4g})"
        for name, limit in problem.limits.items()
        if name in nearest.readings
    )
    return f"no candidate is within the budget; the nearest is {nearest.candidate.id}: {values}"
