"""What the evaluation benchmark runs on: a data set, its parent, and both sides set up on the same images."""

import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

import numpy as np
from ultralytics.nn.tasks import DetectionModel

from evaluators.data.images import Images, load_images
from leaderboards.benchmarks.arguments import known_data, parts_of
from leaderboards.benchmarks.ranking.eagleeye import EagleEye
from leaderboards.recipes.parts import Parts
from leaderboards.runs.prepare import prepare
from leaderboards.runs.problem import Problem
from leaderboards.runs.studies import make_supernets
from spaces.build import Builder
from spaces.candidate import Candidate
from spaces.recovery.recovery import Recovery

Build = Callable[[Candidate], DetectionModel]

SHARE = 0.6


@dataclass(frozen=True, eq=False)
class Testbed:
    """One data set with its parent.

    Attributes:
        scored: the images that both sides score, held out of train.
        port: calibrates on the images of train that are left.
    """

    name: str
    parts: Parts
    problem: Problem
    scored: Images
    port: EagleEye

    def builders(self, n_images: int, recoveries: Sequence[Recovery]) -> dict[Recovery, Build]:
        """Return what builds our candidates on `n_images` by each of `recoveries`, warm: the parent has been seen."""
        making = replace(self.parts.making, calibration_images=n_images)
        build = make_supernets(making, self.problem).same.builder("cpu")
        for recovery in recoveries:
            build(self.draw(0), recovery)
        return {recovery: _by(build, recovery) for recovery in recoveries}

    def draw(self, index: int) -> Candidate:
        """Return our candidate number `index`, on the budget."""
        limits = {"macs_g": SHARE * self.problem.parent_costs["macs_g"]}
        return self.problem.space.sample(np.random.default_rng([3, index]), limits=limits)


def _by(build: Builder, recovery: Recovery) -> Build:
    return lambda candidate: build(candidate, recovery)


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


def make_testbeds() -> dict[str, Testbed]:
    """Return the embedded digits and, where REAL_DATA leads to them, the blood cells."""
    return {name: make_testbed(name, parts_of(name)) for name in known_data() if name != "coco128"}


def make_testbed(name: str, parts: Parts, /, *, share: float = SHARE) -> Testbed:
    """Return the testbed that `parts` describe, with the port's target at `share` of the parent's MACs."""
    problem = prepare(parts)
    scored = load_images(problem.inputs.holdout.search, imgsz=parts.bases.imgsz)
    calibration = load_images(problem.inputs.holdout.rest[:704], imgsz=parts.bases.imgsz)  # as many as it reads
    return Testbed(name, parts, problem, scored, EagleEye(problem, calibration, share=share, seed=parts.ranking.seed))
