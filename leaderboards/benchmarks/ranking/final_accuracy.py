"""What proxies are held against: a seeded sample of candidates at fixed budgets, fine-tuned and measured on val.

Every result goes to a journal, so a benchmark that was stopped goes on where it was.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from evaluators.accuracy.detection import coco_map, predict
from evaluators.data.dataset import Sample
from evaluators.data.images import Images, load_images
from evaluators.result import Job, Result, Status
from evaluators.worker import Supernets
from leaderboards.benchmarks.arguments import fine_tuned, measured
from leaderboards.recipes.parts import Parts
from leaderboards.runs.problem import Problem
from leaderboards.tuning.finetune import FinetuneRecipe, finetune_recipe
from search.journal import Journal
from spaces.candidate import Candidate
from spaces.informed_space import InformedSpace
from spaces.study import Study

READING = "map50_95"


@dataclass(frozen=True)
class FinalAccuracy:
    """One candidate and what became of it.

    Attributes:
        share: its budget, as a fraction of the parent's MACs.
        map50_95: on the val split after fine-tuning, one for each seed.
    """

    candidate: Candidate
    share: float
    map50_95: tuple[float, ...]


@dataclass(frozen=True, eq=False)
class FineTuned:
    """Fine-tunes candidates in one worker and measures them on `val`; the seed is the job's number over `n_sample`."""

    supernets: Supernets
    train: tuple[Sample, ...]
    val: Images
    recipe: FinetuneRecipe
    n_sample: int

    def __call__(self, job: Job) -> Result:
        """Return the result of `job`, with its mAP."""
        torch.set_num_threads(1)
        model = self.supernets.same.builder("cpu")(job.candidate, self.supernets.recovery)
        recipe = replace(self.recipe, seed=job.number // self.n_sample)
        tuned = fine_tuned(model, self.supernets.parent, self.train, recipe=recipe)
        score = coco_map(predict(tuned, self.val), self.val).map50_95
        return Result(job.number, job.candidate, Status.DONE, {READING: score}, 0.0)


def sample_candidates(
    problem: Problem, study: Study, shares: Sequence[float], *, n: int
) -> list[tuple[float, Candidate]]:
    """Return `n` seeded candidates at each share of the parent's MACs, to within 0.5 %.

    In turn they are draws of random diversity, as EagleEye's search ranks them, and informed draws with noise, as
    the default search does: proxies must tell good from bad and good from better.
    """
    whole = problem.parent_costs["macs_g"]
    informed = InformedSpace(problem.space, study.losses)
    drawn = []
    for share in shares:
        for index in range(n):
            rng = np.random.default_rng([index, round(1000 * share)])
            space, widest = (informed, 2.0) if index % 2 else (problem.space, 1.0)
            candidate = space.sample(rng, limits={"macs_g": share * whole}, diversity=widest * float(rng.random()))
            drawn.append((share, candidate))
    return drawn


def final_accuracies(
    parts: Parts, problem: Problem, supernets: Supernets, *, shares: Sequence[float], n: int, repeats: int, folder: Path
) -> list[FinalAccuracy]:
    """Return the fine-tuned mAP of `n` candidates at each of `shares`, the first `repeats` of them with two seeds.

    Args:
        folder: where the journal is kept.
    """
    sample = sample_candidates(problem, supernets.same.study, shares, n=n)
    jobs = [Job(number, candidate) for number, (_, candidate) in enumerate(sample)]
    again = [Job(len(jobs) + number, candidate) for number, candidate in jobs if number % n < repeats]
    identity = {**parts.identity, "shares": list(shares), "n": n, "data": problem.inputs.dataset.fingerprint}
    folder.mkdir(parents=True, exist_ok=True)
    with Journal(folder / "final.jsonl", identity) as journal:
        missing = [job for job in (*jobs, *again) if job.number not in journal.results]
        val = load_images(problem.inputs.dataset.val, imgsz=parts.bases.imgsz)
        tuning = finetune_recipe(parts.tuning, n_classes=len(problem.inputs.dataset.names))
        tune = FineTuned(supernets, problem.inputs.dataset.train, val, tuning, len(jobs))
        for result in measured(lambda: tune, missing, workers=parts.place.workers):
            journal.append_result(result)
        done = {number: result for number, result in journal.results.items() if result.status is Status.DONE}
    return [
        FinalAccuracy(
            done[number].candidate,
            share,
            tuple(done[each].readings[READING] for each in (number, number + len(jobs)) if each in done),
        )
        for number, (share, _) in enumerate(sample)
        if number in done
    ]
