"""Where the candidates of a run are measured: in this process where one worker is enough, else in Ray's."""

from collections.abc import Callable

from evaluators.result import Measure, Result
from leaderboards.recipes.parts import Place
from search import on_ray
from search.executor import Executor, InProcess

DEADLINE_S = 600.0  # for one candidate


def start_executor(place: Place, make: Callable[[], Measure], /) -> Executor:
    """Return what measures by what `make` returns, here or in each worker."""
    if place.is_here:
        return InProcess(make())
    return on_ray.RayExecutor(make, workers=place.workers, deadline_s=DEADLINE_S, gpus=place.gpus_a_worker)


def idle_executor() -> Executor:
    """Return an executor for what the journal knows already: it starts nothing, and refuses whatever is left."""
    return InProcess(_refuse)


def _refuse(job: object) -> Result:
    raise AssertionError(f"nothing is left to measure, got {job}")
