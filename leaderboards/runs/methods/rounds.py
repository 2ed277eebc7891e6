"""A method that trains as it cuts, from the user's own network to the candidates of its last round.

What is trained is a base like any other, "same+s1" after the first training, kept in the run folder; what is measured
stands in the journal, numbered on from round to round. So a run that was stopped goes on as every other.
"""

from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from pkgutil import resolve_name
from typing import NamedTuple

import numpy as np
import torch
from ultralytics.nn.tasks import DetectionModel

from evaluators.budget import Budget
from evaluators.data.dataset import Sample
from evaluators.data.images import load_images
from evaluators.measure import GatedMeasure
from evaluators.metric import LOSS
from evaluators.proxies.by_name import METRICS
from evaluators.proxies.recovered import evaluator_of
from evaluators.proxies.task_losses import by_task
from evaluators.result import Job, Result, Status
from evaluators.worker import Studied, Supernets
from leaderboards.recipes.parts import Making, Place, Ranking, Rounds
from leaderboards.runs.executors import idle_executor, start_executor
from leaderboards.runs.methods.stages import Stage, score_layers, study_stage, train_stage, without_layers
from leaderboards.runs.methods.thinning import StageRecipe
from leaderboards.runs.problem import Inputs, Problem
from leaderboards.runs.strategies import LOWEST_SHARE
from leaderboards.watcher import Watcher
from search.executor import Executor
from search.journal import Journal
from search.loop import measure_all
from search.methods.by_name import METHODS, MethodRecord
from search.methods.rounds import Decide, Floats, Round, targets_of
from spaces.bases.names import BaseName
from spaces.build import Subnet
from spaces.candidate import Candidate
from spaces.errors import BadInput, NothingFeasible
from spaces.networks.compute_dtype import ComputeDtype
from spaces.recovery.recovery import Recovery
from spaces.space import ARITHMETIC_COSTS, Keep, Space


class Outcome(NamedTuple):
    """What a method leaves to be finished: problem and supernets know the bases of the candidates in `front`."""

    problem: Problem
    supernets: Supernets
    front: list[Result]


@dataclass(frozen=True, eq=False)
class Course:
    """How a method goes through its rounds, the same in each of them.

    Attributes:
        recipe: how it trains between its cuts.
    """

    method: MethodRecord
    ranking: Ranking
    rounds: Rounds
    making: Making
    place: Place
    recipe: StageRecipe
    journal: Journal
    watcher: Watcher


def check_method(name: str, problem: Problem, /, *, n_rounds: int) -> None:
    """Make sure that the method called `name`, if it is one, can serve its limits and its network.

    Raises:
        BadInput: no limit, a latency that nothing predicts or that other shapes would need, or a network without the
            BatchNorm that the method reads.
    """
    if name not in METHODS:
        return
    method = METHODS[name]
    if not problem.limits:
        raise BadInput(f"strategy={name} needs a limit to cut to, as in gflops=60%")
    if "latency_ms" in problem.limits:
        if problem.inputs.device is None:
            raise BadInput(f"strategy={name} cuts by arithmetic: latency_ms needs a device_file")
        if n_rounds > 1 or method.drops_repeats:
            raise BadInput(
                f"strategy={name} with latency_ms needs rounds=1 and all layers: the device file is of the user's own "
                "network"
            )
    score_layers(method, problem.inputs.parent, problem.graph)


def run_method(course: Course, problem: Problem, supernets: Supernets, /) -> Outcome:
    """Return the candidates of the last round of a method.

    Raises:
        BadInput: a training failed; with its error.
        NothingFeasible: no candidate of the last round is within the limits, or all failed.
    """
    method, n_rounds = course.method, course.rounds.n
    decide: Decide = resolve_name(method.decide)
    network, name, n_measured = problem.inputs.parent, BaseName(), 0
    for number in range(1, n_rounds + 1):
        network, name = _trained(course, problem.inputs, network, name, number=number)
        stage = study_stage(
            network, name, problem, supernets.same, method=method, making=course.making, folder=course.place.folder
        )
        course.watcher.stage(f"round {number} of {n_rounds} of {method.name}: {name}")
        search = problem.inputs.holdout.search
        bench = _Bench(partial(_executor, course, stage.studied, search), course, number=n_measured)
        around = _round(course, problem, stage, bench, number=number)
        with closing(bench):
            chosen = [result for result in decide(around) if result.status is Status.DONE]
        if not chosen:
            raise NothingFeasible(f"no candidate of round {number} could be measured; {bench.error()}")
        n_measured = bench.number
        if number < n_rounds:
            builder = stage.studied.builder(course.place.device)
            network = builder(chosen[0].candidate, course.making.recovery).cpu()
    front = [result for result in chosen if around.use(around.space.decode(result.candidate)) <= 1]
    if not front:
        raise NothingFeasible(_miss(chosen[0], around))
    return Outcome(
        replace(problem, bases={**problem.bases, str(name): stage.studied.base}),
        replace(supernets, bases={**supernets.bases, str(name): stage.studied}),
        front,
    )


def _trained(
    course: Course, inputs: Inputs, network: DetectionModel, name: BaseName, /, *, number: int
) -> tuple[DetectionModel, BaseName]:
    """Return the network that round `number` cuts, and its name; what a method trains and leaves out before that."""
    if course.method.trains_first or number > 1:
        name = replace(name, stage=number)
        network = train_stage(
            network,
            name,
            inputs,
            strategy=course.ranking.strategy,
            recipe=course.recipe,
            place=course.place,
            watcher=course.watcher,
        )
    if course.method.drops_repeats and number == 1:
        return without_layers(network, name)
    return network, name


class _Bench:
    """Measures the candidates of one round, each once; its workers start when there is something to measure."""

    def __init__(self, start: Callable[[], Executor], course: Course, *, number: int) -> None:
        self.number = number
        self._start = start
        self._journal = course.journal
        self._watcher = course.watcher
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


def _round(course: Course, problem: Problem, stage: Stage, bench: _Bench, *, number: int) -> Round:
    n_rounds, front = course.rounds.n, course.ranking.front
    uses = _uses(problem, stage.studied.base.space)
    start = float(_uses(problem, problem.space)(problem.space.decode(problem.space.parent)[None])[0])
    target = targets_of(start, number=number, n_rounds=n_rounds)
    shares = np.geomspace(1, LOWEST_SHARE, front) if number == n_rounds and front > 1 else np.ones(1)
    return Round(
        stage.studied.base.space,
        stage.scores,
        uses,
        tuple(float(target * share) for share in shares),
        number == n_rounds,
        bench,
        METRICS[course.ranking.proxy],
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


def _executor(course: Course, studied: Studied, search: Sequence[Sample]) -> Executor:
    """Return what measures the candidates of one round, here or in workers as the run's searches do."""
    make = partial(
        make_round_measure,
        studied,
        search,
        course.ranking.proxy,
        recovery=course.making.recovery,
        precision=course.making.dtype,
        device=course.place.measuring_device,
    )
    return start_executor(course.place, make)


def make_round_measure(
    studied: Studied,
    search: Sequence[Sample],
    proxy: str,
    /,
    *,
    recovery: Recovery,
    precision: ComputeDtype,
    device: str,
) -> GatedMeasure:
    """Return what measures the candidates of one base in one worker, on one thread: the proxy and each task's loss.

    No limit is looked at: what a method measures on its way may be above them.
    """
    torch.set_num_threads(1)
    images, builder = load_images(search, imgsz=studied.base.imgsz), studied.builder(device, precision=precision)
    own = () if proxy == LOSS.name else (evaluator_of(proxy, images, recovery),)
    return GatedMeasure(
        studied.base.space.costs,
        lambda candidate: Subnet(candidate, builder),
        budget=Budget({}),
        gates=(),
        evaluators=(*own, by_task(images, recovery)),
    )


def _miss(result: Result, around: Round) -> str:
    use = around.use(around.space.decode(result.candidate))
    return f"the last round ends at {use:.1%} of the limits with {result.candidate.id}; more rounds may help"
