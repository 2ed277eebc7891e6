"""What the evaluation benchmark runs on: a data set, its parent, and both sides set up on the same images."""

import os
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch

from evaluators.images import Images, load_images
from leaderboards.benchmarks.eagleeye import EagleEye
from leaderboards.prepare import Problem, prepare
from leaderboards.recipe import Recipe, read_recipe
from leaderboards.run import make_workshop
from spaces.build import Builder, Recovery

SHARE = 0.6


@dataclass(frozen=True, eq=False)
class Ground:
    """One data set with its parent.

    Attributes:
        scored: the images that both sides score, held out of train.
        port: calibrates on the images of train that are left.
    """

    name: str
    recipe: Recipe
    problem: Problem
    scored: Images
    port: EagleEye

    def builder(self, recovery: Recovery, n_images: int) -> Builder:
        """Return what builds our candidates, recovered by `recovery` on `n_images`."""
        changed = self.recipe.model_copy(update={"recovery": recovery, "calibration_images": n_images})
        return make_workshop(changed, self.problem).builder("cpu")


class Stopwatch:
    """Seconds by name, a list of them each."""

    def __init__(self) -> None:
        self.seconds: dict[str, list[float]] = defaultdict(list)

    @contextmanager
    def time(self, name: str) -> Iterator[None]:
        """Add the seconds that the body takes to those of `name`."""
        started = time.perf_counter()
        yield
        self.seconds[name].append(time.perf_counter() - started)

    def mean(self, *names: str) -> float:
        """Return the mean seconds of `names`, summed."""
        return sum(sum(self.seconds[name]) / len(self.seconds[name]) for name in names)


def make_grounds() -> dict[str, Ground]:
    """Return the embedded digits and, where REAL_DATA leads to them, the blood cells."""
    words: dict[str, list[str]] = {"digits": []}
    if "REAL_DATA" in os.environ:
        root = Path(os.environ["REAL_DATA"])
        weights, data = root / "weights" / "bccd_yolov5nu_320.pt", root / "data" / "bccd" / "data.yaml"
        words["bccd"] = [f"weights={weights}", f"data={data}", "imgsz=320"]
    return {name: make_ground(name, read_recipe(pairs)) for name, pairs in words.items()}


def make_ground(name: str, recipe: Recipe, /) -> Ground:
    """Return the ground that `recipe` describes; the port calibrates on all of train that is not scored."""
    problem = prepare(recipe)
    scored = load_images(problem.inputs.holdout.search, imgsz=recipe.imgsz)
    calibration = load_images(problem.inputs.holdout.rest[:704], imgsz=recipe.imgsz)  # as many as it reads
    return Ground(name, recipe, problem, scored, EagleEye(problem, calibration, share=SHARE, seed=recipe.seed))


@contextmanager
def one_thread() -> Iterator[None]:
    """Let torch use one thread, as each worker of a search does."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
