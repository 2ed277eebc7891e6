"""What is left of the parent without any training, and what reconstruction is worth as a start for training.

For each seed (which draws the calibration images and the candidates) and each budget: random draws and
the best of a search, all within the budget, measured on the val split after adaptive BatchNorm and after sequential
reconstruction of the same channels. The search sees the hold-out of train only.
"""

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import mean, stdev

import numpy as np
import torch
from ultralytics.nn.tasks import DetectionModel

from evaluators.accuracy.detection import coco_map, predict
from evaluators.budget import Budget
from evaluators.data.dataset import Sample
from evaluators.data.images import Images, load_images
from evaluators.metric import MACS, MAP
from evaluators.result import Job, Result, Status
from evaluators.worker import Supernets, make_measure
from leaderboards.benchmarks.arguments import command, fine_tuned, measured, parts_of, read_count
from leaderboards.benchmarks.record import Cell, Record
from leaderboards.environment import environment
from leaderboards.recipes.keys import EMBEDDED
from leaderboards.recipes.parts import Parts
from leaderboards.run_path import run_folder
from leaderboards.runs.prepare import prepare
from leaderboards.runs.problem import Problem
from leaderboards.runs.studies import make_supernets
from leaderboards.tuning.finetune import FinetuneRecipe, finetune_recipe
from search.executor import InProcess
from search.journal import Journal
from search.loop import search
from search.strategies.evolution import NSGA2
from spaces.candidate import Candidate
from spaces.errors import BadInput
from spaces.informed_space import InformedSpace
from spaces.recovery.recovery import Recovery

TARGETS = {0.7: 0.95, 0.5: 0.85, 0.4: 0.70}  # of the parent's mAP, by share of its MACs


@dataclass(frozen=True, eq=False)
class Reconstructions:
    """What a worker needs for one seed and budget; the job's number says which.

    Attributes:
        n_random: random draws that are averaged.
        n_searched: candidates of the search.
        tuned_seeds: the best of so many seeds is fine-tuned, from both starts.
    """

    supernets_by_seed: Sequence[Supernets]
    holdout: tuple[Sample, ...]
    train: tuple[Sample, ...]
    val: Images
    recipe: FinetuneRecipe
    shares: tuple[float, ...]
    n_random: int
    n_searched: int
    tuned_seeds: int

    def __call__(self, job: Job) -> Result:
        """Return the readings of one seed and budget."""
        torch.set_num_threads(1)
        seed, place = divmod(job.number, len(self.shares))
        supernets, limits = self.supernets_by_seed[seed], {MACS.name: 0.0}
        limits[MACS.name] = self.shares[place] * supernets.same.base.space.reach()[MACS.name][1]
        found = self._search(supernets, limits, seed)
        drawn = [
            supernets.same.base.space.sample(np.random.default_rng([seed, place, index]), limits=limits)
            for index in range(self.n_random)
        ]
        readings = self._after(supernets, [found], "best") | self._after(supernets, drawn, "random")
        if seed < self.tuned_seeds:
            readings |= self._tuned(supernets, found)
        return Result(job.number, job.candidate, Status.DONE, readings, 0.0)

    def _search(self, supernets: Supernets, limits: Mapping[str, float], seed: int) -> Candidate:
        """Return the candidate with the best mAP on the hold-out, not fine-tuned."""
        space = InformedSpace(supernets.same.base.space, supernets.same.study.losses)
        strategy = NSGA2(space, limits, (MAP, MACS), spread=1.0)
        executor = InProcess(make_measure(supernets, self.holdout, Budget(limits), device="cpu"))
        with tempfile.TemporaryDirectory() as folder, Journal(Path(folder) / "journal.jsonl", {}) as journal:
            results = search(
                strategy, executor, journal, n_candidates=self.n_searched, seed=seed, on_result=lambda _: None
            )
        done = [result for result in results if result.status is Status.DONE]
        return max(done, key=lambda result: result.readings[MAP.name]).candidate

    def _after(self, supernets: Supernets, candidates: Sequence[Candidate], name: str) -> dict[str, float]:
        """Return the mean mAP on val of `candidates` after each recovery."""
        build = supernets.same.builder("cpu")
        return {
            f"{name}_{recovery}": mean(self._score(build(candidate, recovery)) for candidate in candidates)
            for recovery in (Recovery.ADAPTIVE_BN, Recovery.ONE_SHOT, Recovery.RECONSTRUCT)
        }

    def _tuned(self, supernets: Supernets, candidate: Candidate) -> dict[str, float]:
        """Return the mAP on val after the same fine-tuning from two starts."""
        build = supernets.same.builder("cpu")
        readings = {}
        for recovery in (Recovery.ADAPTIVE_BN, Recovery.RECONSTRUCT):
            model = fine_tuned(build(candidate, recovery), supernets.parent, self.train, recipe=self.recipe)
            readings[f"tuned_{recovery}"] = self._score(model)
        return readings

    def _score(self, model: DetectionModel) -> float:
        return coco_map(predict(model, self.val), self.val).map50_95


def reconstruction(
    *,
    data: str = EMBEDDED,
    seeds: str = "3",
    searched: str = "48",
    random: str = "4",
    epochs: str = "3",
    tuned_seeds: str = "1",
    workers: str = "2",
    out: str = "",
) -> Record:
    """Return what share of the parent's mAP on val the best of a search keeps without training.

    Args:
        data: digits, or bccd or coco128 where REAL_DATA leads to them.
        searched: candidates of each search.
        random: draws that are averaged.
        epochs: of fine-tuning, for the best of the first `tuned_seeds` seeds.
        out: a run folder for the journal; what is there already is not measured again.
    """
    n_seeds, n_searched = read_count("seeds", seeds, least=1), read_count("searched", searched, least=1)
    n_random, n_tuned = read_count("random", random, least=1), read_count("tuned_seeds", tuned_seeds, least=0)
    parts = parts_of(data, f"finetune_epochs={epochs}", f"workers={workers}")
    problem = prepare(parts)
    reconstructions = _reconstructions(parts, problem, (n_seeds, n_searched, n_random, n_tuned))
    parent = coco_map(predict(problem.inputs.parent, reconstructions.val), reconstructions.val).map50_95
    folder = run_folder(out or f"reconstruction-{data}")
    folder.mkdir(parents=True, exist_ok=True)
    asked = {"seeds": seeds, "searched": searched, "random": random, "tuned_seeds": tuned_seeds}
    with Journal(folder / "reconstruction.jsonl", {**parts.identity, **asked}) as journal:
        numbers = [number for number in range(n_seeds * len(TARGETS)) if number not in journal.results]
        jobs = [Job(number, problem.space.parent) for number in numbers]  # the reconstructions finds its own candidates
        for result in measured(lambda: reconstructions, jobs, workers=parts.place.workers):
            journal.append_result(result)
        rows = _rows(parent, reconstructions, journal)
    words = f"seeds={seeds} searched={searched} random={random} epochs={epochs} tuned_seeds={tuned_seeds}"
    return _record(data, rows, words)


def _record(data: str, rows: Sequence[Mapping[str, Cell]], words: str) -> Record:
    worst = min(float(row["best_reconstruct"]) / float(row["parent"]) / float(row["target"]) for row in rows)
    return Record(
        f"reconstruction_{data}",
        "mAP50-95 on val that the best of the search keeps without training, over its target, at the worst budget",
        worst,
        "at least 1, with "
        + ", ".join(f"{goal:.0%} of the parent's at {share:.0%}" for share, goal in TARGETS.items()),
        worst >= 1,
        rows,
        environment(),
        command("reconstruction", data, words),
    )


def _reconstructions(parts: Parts, problem: Problem, counts: tuple[int, int, int, int]) -> Reconstructions:
    n_seeds, n_searched, n_random, tuned_seeds = counts
    seeded = [replace(parts.making, seed=seed) for seed in range(n_seeds)]
    return Reconstructions(
        [make_supernets(each, problem) for each in seeded],
        problem.inputs.holdout.search,
        problem.inputs.dataset.train,
        load_images(problem.inputs.dataset.val, imgsz=parts.bases.imgsz),
        replace(finetune_recipe(parts.tuning, n_classes=len(problem.inputs.dataset.names)), seed=0),
        tuple(TARGETS),
        n_random,
        n_searched,
        tuned_seeds,
    )


def _rows(parent: float, reconstructions: Reconstructions, journal: Journal) -> list[dict[str, Cell]]:
    """Return one row for each budget: means over the seeds, and the spread of the best.

    Raises:
        BadInput: a reconstructions failed; the message has its error.
    """
    rows: list[dict[str, Cell]] = []
    failed = [result.error for result in journal.results.values() if result.status is not Status.DONE]
    if failed:
        raise BadInput(f"{len(failed)} trials failed, the first with: {failed[0]}")
    for place, (share, goal) in enumerate(TARGETS.items()):
        mine = [result.readings for number, result in journal.results.items() if number % len(TARGETS) == place]
        names = [f"{kind}_{recovery}" for kind in ("best", "random") for recovery in Recovery if recovery != "nothing"]
        best = [readings[f"best_{Recovery.RECONSTRUCT}"] for readings in mine]
        tuned = [readings for readings in mine if f"tuned_{Recovery.RECONSTRUCT}" in readings]
        rows.append(
            {"macs_kept": share, "target": goal, "parent": parent, "n_seeds": len(mine)}
            | {name: mean(readings[name] for readings in mine) for name in names}
            | {"best_kept": mean(best) / parent, "best_sd": stdev(best) if len(best) > 1 else 0.0}
            | {
                f"tuned_{recovery}": mean(readings[f"tuned_{recovery}"] for readings in tuned) if tuned else "-"
                for recovery in (Recovery.ADAPTIVE_BN, Recovery.RECONSTRUCT)
            }
            | {
                "epochs": reconstructions.recipe.epochs,
                "n_images": len(reconstructions.supernets_by_seed[0].same.calibration),
            }
        )
    return rows
