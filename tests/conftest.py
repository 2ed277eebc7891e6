"""Processes for the whole suite, and one small problem, prepared as the command line does it, for all who need one."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from evaluators.data.dataset import Sample, load_dataset
from leaderboards.recipes.parts import Parts
from leaderboards.recipes.reading import read_recipe
from leaderboards.recipes.recipe import Recipe
from leaderboards.runs.prepare import prepare
from leaderboards.runs.problem import Problem
from spaces.candidate import Candidate
from spaces.detectors.detector import save_detector
from tests.evaluators.tiny import write_dataset
from tests.spaces.untrained import detector


def pytest_configure() -> None:
    """Give each process one thread: small networks gain nothing by a second one, on a busy machine they lose much."""
    os.environ["OMP_NUM_THREADS"] = "1"  # of the processes that are started from here
    torch.set_num_threads(1)


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """Return how many processes share the tests: none for some files, whose imports alone would then take longer."""
    if all(Path(argument.partition("::")[0]).is_file() for argument in config.args):
        return 0
    return min(4, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)


@pytest.fixture(scope="session")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Recipe:
    """Return the recipe of a search at 64 px for 60 % of the GFLOPs and 80 % of the parameters."""
    folder = tmp_path_factory.mktemp("problem")
    model = detector("yolov8n", n_classes=2)
    names = model.names
    model.names = {0: "cat", 1: "dog"}
    save_detector(model, folder / "weights", candidate=Candidate("same", ()))
    model.names = names
    data = write_dataset(folder / "data")
    own = [f"weights={folder / 'weights'}", f"data={data}", "imgsz=64", "image_sizes=none"]
    return read_recipe([*own, "gflops=60%", "params_m=80%"])


@pytest.fixture(scope="session")
def parts(recipe: Recipe) -> Parts:
    """Return the parts of `recipe`."""
    return recipe.parts()


@pytest.fixture(scope="session")
def problem(parts: Parts) -> Problem:
    """Return what `recipe` states."""
    return prepare(parts)


@pytest.fixture(scope="session")
def samples(tmp_path_factory: pytest.TempPathFactory) -> tuple[Sample, ...]:
    """Five small noisy images with a box each."""
    return load_dataset(write_dataset(tmp_path_factory.mktemp("tiny"), n_train=5)).train


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    """Train on one thread: networks this small only wait for a second one."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def threads() -> Iterator[None]:
    """Give the other tests their threads back: a worker measures on one."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)
