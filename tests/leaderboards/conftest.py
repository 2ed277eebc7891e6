"""One small problem, prepared as the command line does it, for every test that needs a real one."""

from collections.abc import Iterator

import pytest
import torch

from evaluators.data.dataset import Sample, load_dataset
from leaderboards.recipes.reading import read_recipe
from leaderboards.recipes.recipe import Recipe
from leaderboards.runs.prepare import prepare
from leaderboards.runs.problem import Problem
from spaces.candidate import Candidate
from spaces.detectors.detector import save_detector
from tests.evaluators.tiny import write_dataset
from tests.spaces.untrained import detector


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
    return read_recipe([f"weights={folder / 'weights'}", f"data={data}", "imgsz=64", "gflops=60%", "params_m=80%"])


@pytest.fixture(scope="session")
def problem(recipe: Recipe) -> Problem:
    """Return what `recipe` states."""
    return prepare(recipe)


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
