import copy
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch
from torch import nn
from ultralytics.nn.tasks import DetectionModel

from evaluators.data.dataset import Sample, load_dataset
from leaderboards.runs.methods.thinning import SparseLesson, StageRecipe, fade_, make_stage
from search.methods.pruned_yolo import coefficient
from tests.evaluators.tiny import write_dataset
from tests.leaderboards.tuning.test_finetune import Stopped, assert_equal, ignore, stop_after
from tests.spaces.untrained import detector

RECIPE = StageRecipe(epochs=1, imgsz=64, batch=2, distill=0.0, sparsity=0.01)
pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> tuple[Sample, ...]:
    """Three small noisy images with a box each."""
    return load_dataset(write_dataset(tmp_path_factory.mktemp("tiny"), n_train=3)).train


def norms(model: nn.Module) -> list[nn.BatchNorm2d]:
    return [layer for layer in model.modules() if isinstance(layer, nn.BatchNorm2d)]


def scales(model: nn.Module) -> torch.Tensor:
    return torch.cat([norm.weight.detach().abs() for norm in norms(model)])


def stage(samples: tuple[Sample, ...], folder: Path, recipe: StageRecipe, *, stop: int = 0) -> DetectionModel:
    report = partial(stop_after, stop) if stop else ignore
    return make_stage(detector(), detector(), samples, folder=folder, recipe=recipe, report=report, device="cpu")


def targets() -> dict[str, torch.Tensor]:
    return {"batch_idx": torch.zeros(1), "cls": torch.zeros(1, 1), "bboxes": torch.tensor([[0.5, 0.5, 0.3, 0.3]])}


def test_the_term_is_the_coefficient_times_all_scales_and_its_gradient_is_the_published_one() -> None:
    student = copy.deepcopy(detector()).train()
    norms(student)[0].weight.data[0] = -0.5
    lesson = SparseLesson(student, detector(), RECIPE)
    part = lesson(torch.rand(1, 3, 64, 64), targets())["sparsity_loss"]
    assert float(part.detach()) == pytest.approx(0.01 * float(scales(student).sum()), rel=1e-5)
    part.backward()
    for norm in norms(student):
        assert norm.weight.grad is not None
        assert torch.allclose(norm.weight.grad, 0.01 * norm.weight.sign())


def test_an_eased_coefficient_falls_from_epoch_to_epoch() -> None:
    student = copy.deepcopy(detector()).train()
    lesson = SparseLesson(student, detector(), replace(RECIPE, epochs=4, is_eased=True))
    parts = []
    for _ in range(2):
        parts.append(float(lesson(torch.rand(1, 3, 64, 64), targets())["sparsity_loss"].detach()))
        lesson.end_epoch_()
    expected = coefficient(0.01, epoch=1, epochs=4) / coefficient(0.01, epoch=0, epochs=4)
    assert parts[1] / parts[0] == pytest.approx(expected, rel=1e-5)


def test_weak_channels_fade_to_a_tenth_and_others_stay() -> None:
    norm, other = nn.BatchNorm2d(3), nn.BatchNorm2d(1)
    # the mean of 1, -0.05, 0.95, 2 by absolute value is 1, a fifth of it 0.2
    norm.weight.data, other.weight.data = torch.tensor([1.0, -0.05, 0.95]), torch.tensor([2.0])
    norm.bias.data, norm.running_mean, norm.running_var = torch.ones(3), 2 * torch.ones(3), 3 * torch.ones(3)
    fade_([norm, other])
    assert norm.weight.tolist() == pytest.approx([1.0, -0.005, 0.95])
    assert norm.bias.tolist() == pytest.approx([1, 0.1, 1])
    assert norm.running_mean.tolist() == pytest.approx([2, 0.2, 2])
    assert norm.running_var.tolist() == pytest.approx([3, 0.3, 3])
    assert other.weight.tolist() == [2]


def test_training_for_sparsity_leaves_smaller_scales_than_training_without(
    samples: tuple[Sample, ...], tmp_path: Path
) -> None:
    sparse = stage(samples, tmp_path / "sparse", replace(RECIPE, epochs=2, sparsity=1.0))
    plain = stage(samples, tmp_path / "plain", replace(RECIPE, epochs=2, sparsity=0.0))
    assert float(scales(sparse).mean()) < float(scales(plain).mean()) - 1e-4


def test_a_stopped_stage_ends_as_the_uninterrupted_one_and_is_made_once(
    samples: tuple[Sample, ...], tmp_path: Path
) -> None:
    # weak channels fade before the third epoch: a stop after it must not fade them twice
    recipe = replace(RECIPE, epochs=4, is_eased=True, sparsity=1.0)
    whole = stage(samples, tmp_path / "whole", recipe)
    with pytest.raises(Stopped):
        stage(samples, tmp_path / "stopped", recipe, stop=3)
    assert_equal(stage(samples, tmp_path / "stopped", recipe), whole)
    reports: list[Mapping[str, float]] = []
    again = make_stage(
        detector(), detector(), samples, folder=tmp_path / "whole", recipe=recipe, report=reports.append, device="cpu"
    )
    assert not reports
    assert_equal(again, whole)
    assert sorted(path.name for path in (tmp_path / "whole").iterdir()) == ["architecture.json", "model.safetensors"]
