"""A space of small integers whose front is known, and measures of it."""

import os
import signal
import time
from collections.abc import Mapping
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import evaluators
import leaderboards
import search
import spaces
from evaluators.metric import LOSS, MACS
from evaluators.result import Job, Measure, Result, Status
from spaces.candidate import Candidate
from spaces.errors import OutOfReach
from spaces.space import Gene

OBJECTIVES = (LOSS, MACS)
GAINS = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0)


class ToySpace:
    """`n_genes` genes of 0 to 9; macs_g is their sum."""

    def __init__(self, n_genes: int = 3) -> None:
        self.n_genes = n_genes
        self.genes = tuple(Gene(f"g{index}", 9, tuple(range(10))) for index in range(n_genes))

    def shares(self, candidate: Candidate, /) -> dict[str, float]:
        return {name: value / 9 for name, value in candidate.picks}

    def adopt(self, shares: Mapping[str, float], /) -> Candidate:
        return encode(np.array([round(9 * shares.get(gene.name, 1.0)) for gene in self.genes]))

    def check(self, limits: Mapping[str, float], /) -> None:
        if limits["macs_g"] < 1:
            raise OutOfReach("macs_g must be at least 1")

    def sample(self, rng: np.random.Generator, /, *, limits: Mapping[str, float], diversity: float = 1.0) -> Candidate:  # noqa: ARG002
        self.check(limits)
        genes = np.zeros(self.n_genes, np.int64)
        while genes.sum() < min(int(limits["macs_g"]), 9 * self.n_genes):
            genes[rng.choice(np.flatnonzero(genes < 9))] += 1
        return encode(genes)

    def mutate(self, candidate: Candidate, rng: np.random.Generator, /, *, limits: Mapping[str, float]) -> Candidate:
        genes = decode(candidate)
        genes[rng.integers(self.n_genes)] = rng.integers(10)
        return shrink(genes, rng, limits)

    def cross(
        self, first: Candidate, second: Candidate, rng: np.random.Generator, /, *, limits: Mapping[str, float]
    ) -> Candidate:
        return shrink(np.where(rng.random(self.n_genes) < 0.5, decode(first), decode(second)), rng, limits)

    def fill(self, candidate: Candidate, rng: np.random.Generator, /, *, limits: Mapping[str, float]) -> Candidate:
        genes = decode(candidate)
        while genes.sum() < min(int(limits["macs_g"]), 9 * self.n_genes):
            genes[rng.choice(np.flatnonzero(genes < 9))] += 1
        return encode(genes)


def encode(genes: NDArray[np.int64]) -> Candidate:
    return Candidate("same", tuple((f"g{index}", int(value)) for index, value in enumerate(genes)))


def decode(candidate: Candidate) -> NDArray[np.int64]:
    return np.array([value for _, value in candidate.picks], np.int64)


def shrink(genes: NDArray[np.int64], rng: np.random.Generator, limits: Mapping[str, float]) -> Candidate:
    genes = genes.copy()
    while genes.sum() > limits["macs_g"]:
        genes[rng.choice(np.flatnonzero(genes))] -= 1
    return encode(genes)


def measure(job: Job) -> Result:
    """Loss: what the genes lack, each weighted by its gain. So the front fills the last gene first."""
    genes = decode(job.candidate)
    readings = {"loss": float(((9 - genes) * GAINS[: len(genes)]).sum()), "macs_g": float(genes.sum())}
    return Result(job.number, job.candidate, Status.DONE, readings, 0.0)


def ignore(_: Result) -> None:
    """Take a result and do nothing."""


def make_measure() -> Measure:
    return measure


def make_slow_measure(seconds: float) -> Measure:
    return partial(measure_slowly, seconds)


def measure_slowly(seconds: float, job: Job) -> Result:
    time.sleep(seconds)
    return measure(job)


def make_troubled_measure(scars: Path) -> Measure:
    return partial(measure_troubled, scars)


def measure_troubled(scars: Path, job: Job) -> Result:
    """Number 1 kills its worker once, number 2 always, number 3 hangs, number 4 raises, the others are fine."""
    scar = scars / str(job.number)
    if job.number == 2 or (job.number == 1 and not scar.exists()):
        scar.write_text("")
        os.kill(os.getpid(), signal.SIGKILL)
    if job.number == 3:
        time.sleep(600)
    if job.number == 4:
        raise ValueError("four is bad")
    return measure(job)


def make_roots() -> Measure:
    return measure_roots


def measure_roots(job: Job) -> Result:
    """Say in `error` where the four packages come from."""
    files = [str(module.__file__) for module in (spaces, evaluators, search, leaderboards)]
    return Result(job.number, job.candidate, Status.FAILED, {}, 0.0, "|".join(files))


def fail_to_make() -> Measure:
    raise ValueError("no such weights")
