"""A method that trains as it cuts, from the user's own network to the candidates of its last round.

What is trained is a base like any other, "same+s1" after the first training, kept in the run folder; what is measured
stands in the journal, numbered on from round to round. So a run that was stopped goes on as every other.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from functools import partial
from typing import NamedTuple

import numpy as np
import torch
from ultralytics.nn.tasks import DetectionModel

from evaluators.budget import Budget
from evaluators.data.dataset import Sample
from evaluators.data.images import load_images
from evaluators.measure import Measure
from evaluators.metric import LOSS, METRICS
from evaluators.proxies.by_name import evaluator_of
from evaluators.proxies.task_losses import by_task
from evaluators.result import Result, Status
from evaluators.worker import Studied, Workshop
from leaderboards.recipes.recipe import Recipe
from leaderboards.recipes.strategy_keys import METHODS
from leaderboards.runs.methods.stages import Stage, score_layers, study_stage, train_stage, without_layers
from leaderboards.runs.placing import device_of, idle_executor, start_executor
from leaderboards.runs.problem import Problem
from leaderboards.runs.strategies import LOWEST_SHARE
from leaderboards.watcher import Watcher
from search.executor import Executor, Job
from search.journal import Journal
from search.loop import measure_all
from search.methods import netadapt, pagcp, pruned_yolo, slimming
from search.methods.rounds import Decide, Floats, Round, targets_of
from spaces.bases.base import BaseName
from spaces.build import Subnet
from spaces.candidate import Candidate
from spaces.errors import BadInput, NothingFeasible
from spaces.networks.precision import Precision
from spaces.recovery.recovery import Recovery
from spaces.space import ARITHMETIC_COSTS, Keep, Space

DECIDE: Mapping[str, Decide] = {
    "slimming": slimming.slim,
    "pruned_yolo": pruned_yolo.prune,
    "pagcp": pagcp.compress,
    "netadapt": netadapt.adapt,
}


class Outcome(NamedTuple):
    """What a method leaves to be finished: problem and workshop know the bases of the candidates in `front`."""

    problem: Problem
    workshop: Workshop
    front: list[Result]


def check_method(recipe: Recipe, problem: Problem, /) -> None:
    """Make sure that the method of `recipe`, if it names one, can serve its limits and its network.

    Raises:
        BadInput: no limit, a latency that nothing predicts or that other shapes would need, or a network without the
            BatchNorm that the method reads.
    """
    if recipe.strategy not in METHODS:
        return
    if not problem.limits:
        raise BadInput(f"strategy={recipe.strategy} needs a limit to cut to, as in gflops=60%")
    if "latency_ms" in problem.limits:
        if problem.inputs.device is None:
            raise BadInput(f"strategy={recipe.strategy} cuts by arithmetic: latency_ms needs a device_file")
        if n_rounds_of(recipe) > 1 or recipe.strategy == "pruned_yolo":
            raise BadInput(
                f"strategy={recipe.strategy} with latency_ms needs rounds=1 and all layers: the device file is of the "
                "user's own network"
            )
    score_layers(recipe.strategy, problem.inputs.parent, problem.graph)


def n_rounds_of(recipe: Recipe, /) -> int:
    """Return how many rounds the method of `recipe` goes."""
    return recipe.rounds or METHODS[recipe.strategy].rounds


def run_method(recipe: Recipe, problem: Problem, workshop: Workshop, journal: Journal, watcher: Watcher, /) -> Outcome:
    """Return the candidates of the last round of the method that `recipe` names.

    Raises:
        BadInput: a training failed; with its error.
        NothingFeasible: no candidate of the last round is within the limits, or all failed.
    """
    n_rounds = n_rounds_of(recipe)
    network, name, n_measured = problem.inputs.parent, BaseName(), 0
    for number in range(1, n_rounds + 1):
        network, name = _trained(recipe, problem, network, name, number=number, watcher=watcher)
        stage = study_stage(recipe, problem, network, name=name, same=workshop.same)
        watcher.stage(f"round {number} of {n_rounds} of {recipe.strategy}: {name}")
        bench = _Bench(partial(_executor, recipe, problem, stage.studied), journal, watcher, number=n_measured)
        around = _round(recipe, problem, stage, bench, number=number)
        with closing(bench):
            chosen = [result for result in DECIDE[recipe.strategy](around) if result.status is Status.DONE]
        if not chosen:
            raise NothingFeasible(f"no candidate of round {number} could be measured; {bench.error()}")
        n_measured = bench.number
        if number < n_rounds:
            network = stage.studied.builder(recipe.torch_device)(chosen[0].candidate, recipe.recovery).cpu()
    front = [result for result in chosen if around.use(around.space.decode(result.candidate)) <= 1]
    if not front:
        raise NothingFeasible(_miss(chosen[0], around))
    return Outcome(
        replace(problem, bases={**problem.bases, str(name): stage.studied.base}),
        replace(workshop, bases={**workshop.bases, str(name): stage.studied}),
        front,
    )


def _trained(
    recipe: Recipe, problem: Problem, network: DetectionModel, name: BaseName, /, *, number: int, watcher: Watcher
) -> tuple[DetectionModel, BaseName]:
    """Return the network that round `number` cuts, and its name; what a method trains and leaves out before that."""
    if METHODS[recipe.strategy].trains_first or number > 1:
        name = replace(name, stage=number)
        network = train_stage(recipe, problem, network, name=name, watcher=watcher)
    if recipe.strategy == "pruned_yolo" and number == 1:
        return without_layers(network, name)
    return network, name


class _Bench:
    """Measures the candidates of one round, each once; its workers start when there is something to measure."""

    def __init__(self, start: Callable[[], Executor], journal: Journal, watcher: Watcher, *, number: int) -> None:
        self.number = number
        self._start = start
        self._journal = journal
        self._watcher = watcher
        self._executor: Executor | None = None
        self._known: dict[Candidate, Result] = {}

    def __call__(self, candidates: Sequence[Candidate], /) -> list[Result]:
        """Return the results of `candidates` in their order."""
        new = [candidate for candidate in dict.fromkeys(candidates) if candidate not in self._known]
        jobs = [Job(self.number + place, candidate) for place, candidate in enumerate(new)]
        if self._executor is None and any(job.number not in self._journal.results for job in jobs):
            self._executor = self._start()
        executor = self._executor or idle_executor()
        results = measure_all(jobs, executor, self._journal, on_result=self._watcher.on_result)
        self.number += len(new)
        self._known |= {result.candidate: result for result in results}
        return [self._known[candidate] for candidate in candidates]

    def error(self) -> str:
        """Return the first error among the results."""
        return next((f"{result.candidate.id}: {result.error}" for result in self._known.values() if result.error), "")

    def close(self) -> None:
        """End the workers, if there are any."""
        if self._executor is not None:
            self._executor.close()


def _round(recipe: Recipe, problem: Problem, stage: Stage, bench: _Bench, *, number: int) -> Round:
    n_rounds = n_rounds_of(recipe)
    uses = _uses(problem, stage.studied.base.space)
    start = float(_uses(problem, problem.space)(problem.space.decode(problem.space.parent)[None])[0])
    target = targets_of(start, number=number, n_rounds=n_rounds)
    shares = np.geomspace(1, LOWEST_SHARE, recipe.front) if number == n_rounds and recipe.front > 1 else np.ones(1)
    return Round(
        stage.studied.base.space,
        stage.scores,
        uses,
        tuple(float(target * share) for share in shares),
        number == n_rounds,
        bench,
        METRICS[recipe.proxy],
    )


def _uses(problem: Problem, space: Space) -> Callable[[Keep], Floats]:
    """Return what tells the largest cost of rows of keep counts of `space` as a fraction of its limit."""
    limits = {name: limit for name, limit in problem.limits.items() if name in ARITHMETIC_COSTS}
    device = problem.inputs.device
    if device is None or "latency_ms" not in problem.limits:
        return lambda keep: space.uses(keep, limits)
    predict = device.latency(problem.space, problem.graph)

    def uses(keep: Keep) -> Floats:
        times = [found["latency_ms"] for found in predict([problem.space.encode(row) for row in keep])]
        return np.maximum(space.uses(keep, limits), np.array(times) / problem.limits["latency_ms"])

    return uses


def _executor(recipe: Recipe, problem: Problem, studied: Studied) -> Executor:
    """Return what measures the candidates of one round, here or in workers as the run's searches do."""
    make = partial(
        make_round_measure,
        studied,
        problem.inputs.holdout.search,
        recipe.proxy,
        recovery=recipe.recovery,
        precision=recipe.precision,
        device=device_of(recipe),
    )
    return start_executor(recipe, make)


def make_round_measure(
    studied: Studied,
    search: Sequence[Sample],
    proxy: str,
    /,
    *,
    recovery: Recovery,
    precision: Precision,
    device: str,
) -> Measure:
    """Return what measures the candidates of one base in one worker, on one thread: the proxy and each task's loss.

    No limit is looked at: what a method measures on its way may be above them.
    """
    torch.set_num_threads(1)
    images, builder = load_images(search, imgsz=studied.base.imgsz), studied.builder(device, precision=precision)
    own = () if proxy == LOSS.name else (evaluator_of(proxy, images, recovery),)
    return Measure(
        studied.base.space.costs,
        lambda candidate: Subnet(candidate, builder),
        budget=Budget({}),
        gates=(),
        evaluators=(*own, by_task(images, recovery)),
    )


def _miss(result: Result, around: Round) -> str:
    use = around.use(around.space.decode(result.candidate))
    return f"the last round ends at {use:.1%} of the limits with {result.candidate.id}; more rounds may help"
