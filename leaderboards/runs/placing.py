"""Where the candidates of a run are measured: in this process where one worker is enough, else in Ray's."""

from collections.abc import Callable

from evaluators.result import Result
from leaderboards.recipes.recipe import Recipe
from search import on_ray
from search.executor import Executor, InProcess, Measure

DEADLINE_S = 600.0  # for one candidate


def is_here(recipe: Recipe, /) -> bool:
    """Return whether `recipe` is measured in this process."""
    return recipe.workers == 1 and recipe.ray_address is None


def device_of(recipe: Recipe, /) -> str:
    """Return the device of `recipe` as what measures sees it."""
    return recipe.torch_device if is_here(recipe) else recipe.worker_device


def start_executor(recipe: Recipe, make: Callable[[], Measure], /) -> Executor:
    """Return what measures by what `make` returns, here or in each worker."""
    if is_here(recipe):
        return InProcess(make())
    return on_ray.RayExecutor(make, workers=recipe.workers, deadline_s=DEADLINE_S, gpus=recipe.gpus_a_worker)


def idle_executor() -> Executor:
    """Return an executor for what the journal knows already: it starts nothing, and refuses whatever is left."""
    return InProcess(_refuse)


def _refuse(job: object) -> Result:
    raise AssertionError(f"nothing is left to measure, got {job}")
