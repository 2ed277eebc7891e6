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
from evaluators.worker import Supernets, make_measure
from leaderboards.leaderboard import Leaderboard
from leaderboards.recipes.parts import Parts, Place, Ranking
from leaderboards.reports.publish import publish
from leaderboards.run_folder import RECIPE
from leaderboards.run_path import JOURNAL
from leaderboards.run_records import BASE, SPACE, check_records, notes_on
from leaderboards.runs.clock import Clock
from leaderboards.runs.executors import idle_executor, start_executor
from leaderboards.runs.fidelities import fidelity_proxies, on_ladder
from leaderboards.runs.methods.rounds import Course, check_method, run_method
from leaderboards.runs.methods.stages import stage_recipe
from leaderboards.runs.problem import Inputs, Problem, fingerprint
from leaderboards.runs.references import without_references
from leaderboards.runs.rows import finish_rows
from leaderboards.runs.strategies import objectives, strategy_of
from leaderboards.runs.studies import graft_backbones, make_supernets
from leaderboards.tuning.finetune import finetune_recipe
from leaderboards.watcher import Watcher, Watchers
from search import ray_session
from search.journal import Journal, check_recipe
from search.loop import search
from search.methods.by_name import METHODS
from search.pareto import losses, select_spread
from spaces.bases.names import SAME
from spaces.detectors.backbones.weight_paths import read_weight_paths
from spaces.errors import BadInput, NothingFeasible
from spaces.files import write_atomic
from spaces.space import Space


def run(parts: Parts, problem: Problem, watchers: Sequence[Watcher], /) -> Leaderboard:
    """Return the leaderboard of the run, with every file of the run folder written.

    Raises:
        BadInput: the run folder belongs to another recipe or is in use.
        Interrupted: stopped by a signal, by the death of Ray or by a full disk; everything finished is on disk.
        NothingFeasible: the search found no candidate within the limits.
    """
    check_method(parts.ranking.strategy, problem, n_rounds=parts.rounds.n)
    folder, told = parts.place.folder, Watchers(watchers)
    with ray_session.running(parts.place.ray_address, parts.place.workers):
        folder.mkdir(parents=True, exist_ok=True)
        with Journal(folder / JOURNAL, _identity(parts, problem.inputs)) as journal:
            check_records(journal)
            write_atomic(folder / RECIPE, yaml.safe_dump(dict(parts.settings), sort_keys=False))
            _fill_journal(parts, problem, journal, told)
    told.stage("writing the leaderboard")
    board = publish(folder)
    told.on_end(board)
    return board


def _fill_journal(parts: Parts, problem: Problem, journal: Journal, watcher: Watcher) -> None:
    """Do what the journal lacks, from the analysis to the last row."""
    missing = missing_images(problem.inputs, parts.making.calibration_images, parts.sources.search_images)
    problem = _settle(problem, journal, notes=missing)
    for note in (*missing, *notes_on(journal)):
        watcher.stage(note)
    n_classes = len(problem.inputs.dataset.names)
    rows = finetune_recipe(parts.tuning, n_classes=n_classes)
    grafted = graft_backbones(parts.bases, parts.place, problem.inputs, tuning=rows, watcher=watcher)
    watcher.stage("studying the parent" if len(problem.bases) == 1 else f"studying {len(problem.bases)} bases")
    supernets = make_supernets(parts.making, problem, grafted=grafted, folder=parts.place.folder)
    if parts.ranking.strategy in METHODS:
        course = Course(
            METHODS[parts.ranking.strategy],
            parts.ranking,
            parts.rounds,
            parts.making,
            parts.place,
            stage_recipe(parts.rounds, rows),
            journal,
            Watchers([Clock(journal), watcher]),
        )
        problem, supernets, front = run_method(course, problem, supernets)
    else:
        results = _search(parts.ranking, parts.place, problem, supernets, journal=journal, watcher=watcher)
        cut = without_references(results) if parts.ranking.has_references else results
        front = pick_front(cut, objectives(parts.ranking.proxy, problem), parts.ranking.front)
        if not front:
            raise NothingFeasible(_nearest_miss(results, problem))
    _note_bases(supernets, journal)
    finish_rows(
        front,
        problem,
        supernets,
        place=parts.place,
        ranking=parts.ranking,
        tuning=parts.tuning,
        journal=journal,
        watcher=watcher,
    )


def check_folder(parts: Parts, inputs: Inputs, /) -> None:
    """Make sure that the run folder can take this run, without writing anything.

    Raises:
        BadInput: it is no folder, cannot be written, holds something else, or a run of another recipe; or the files
            of `backbone_weights` are not there.
    """
    folder, identity = parts.place.folder, _identity(parts, inputs)
    journal = folder / JOURNAL
    nearest = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    if not nearest.is_dir() or not os.access(nearest, os.W_OK):
        raise BadInput(f"out: {str(nearest)!r} is no folder that can be written to")
    if journal.exists():
        replay = Journal.read(journal)
        check_recipe(journal, replay.header, identity)
        check_records(replay)
    elif folder.is_dir() and any(not path.name.strip(".").startswith(JOURNAL) for path in folder.iterdir()):
        raise BadInput(f"out: {str(folder)!r} is not empty and holds no run")


def known_results(folder: Path, /) -> list[Result]:
    """Return what an earlier call has measured already in the run folder `folder`."""
    path = folder / JOURNAL
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


def _search(
    ranking: Ranking, place: Place, problem: Problem, supernets: Supernets, /, *, journal: Journal, watcher: Watcher
) -> list[Result]:
    n_known = len(journal.results)
    watcher.stage(f"searching {ranking.candidates} candidates by {ranking.strategy}, {n_known} known already")
    make = partial(
        make_measure,
        supernets,
        problem.inputs.holdout.search,
        problem.budget,
        device=place.measuring_device,
        proxy=ranking.proxy,
        fidelities=fidelity_proxies(ranking.ladder),
    )
    executor = idle_executor() if n_known >= ranking.candidates else start_executor(place, make)
    told = Watchers([Clock(journal), watcher])
    try:
        screened = partial(
            on_ladder,
            ladder=ranking.ladder,
            n_candidates=ranking.candidates,
            limits=problem.limits,
            supernets=supernets,
            executor=executor,
            journal=journal,
        )
        return search(
            strategy_of(ranking, problem, supernets, on_ladder=screened),
            executor,
            journal,
            n_candidates=ranking.candidates,
            seed=ranking.seed,
            on_result=told.on_result,
        )
    finally:
        executor.close()


def missing_images(inputs: Inputs, n_calibration: int, n_search: int, /) -> list[str]:
    """Return a sentence for each key that asks for more images than there are; the run uses those that are."""
    asked = {
        "calibration_images": (n_calibration, len(inputs.holdout.rest)),
        "search_images": (n_search, len(inputs.holdout.search)),
    }
    return [
        f"{key}={wanted} was asked for, train has {there} to give, which are used."
        for key, (wanted, there) in asked.items()
        if there < wanted
    ]


def _settle(problem: Problem, journal: Journal, *, notes: Sequence[str]) -> Problem:
    """Return `problem` with the limits and costs the run began with: the parent's latency is measured only once.

    Both decide what is proposed; measured anew, a resumed search would propose other candidates than the journal has.
    """
    if not journal.records(SPACE):
        began = {"limits": dict(problem.limits), "parent": dict(problem.parent_costs)}
        said = {"notes": [*problem.notes(), *notes], "is_labelled": problem.inputs.dataset.is_labelled}
        journal.append(SPACE, {**began, "blocks": _blocks(problem.space), **said})
    facts = journal.records(SPACE)[0]
    limits, costs = facts["limits"], facts.get("parent", problem.parent_costs)  # older runs have none
    assert isinstance(limits, Mapping)
    assert isinstance(costs, Mapping)
    return replace(problem, limits=limits, parent_costs=costs)


def _note_bases(supernets: Supernets, journal: Journal) -> None:
    """Write down once which blocks each base but the parent has: the report shows its candidates by them."""
    known = {SAME, *(record["name"] for record in journal.records(BASE))}
    for name, studied in supernets.bases.items():
        if name not in known:
            journal.append(BASE, {"name": name, "blocks": _blocks(studied.base.space)})


def _blocks(space: Space) -> list[tuple[str, int]]:
    return [(gene.name, gene.size) for gene in space.genes]


def _identity(parts: Parts, inputs: Inputs) -> dict[str, object]:
    """Return what a journal must agree with to be gone on with: the settings, and the contents behind the paths."""
    device = None if inputs.device is None else inputs.device.fingerprint
    contents: dict[str, object] = {
        "weights": inputs.fingerprint,
        "data": inputs.dataset.fingerprint,
        "device_file": device,
        "rivals": {name: fingerprint(rival.path) for name, rival in inputs.rivals.items()},
    }
    if parts.bases.weights is None:
        return {**parts.identity, **contents}
    files = read_weight_paths(parts.bases.weights)
    pretrained = {name: fingerprint(path) for name, path in files.items()}
    return {**parts.identity, **contents, "backbone_weights": pretrained}


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
