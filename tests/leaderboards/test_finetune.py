import copy
import logging
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from ultralytics.nn.tasks import DetectionModel

from evaluators.dataset import Sample, load_dataset
from leaderboards.finetune import LAST_LR, FinetuneRecipe, finetune, learning_rate
from tests.evaluators.tiny import write_dataset
from tests.spaces.networks import detector

RECIPE = FinetuneRecipe(epochs=2, imgsz=64, batch=2)


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    """Train on one thread: networks this small only wait for a second one."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> tuple[Sample, ...]:
    """Five small noisy images with a box each."""
    return load_dataset(write_dataset(tmp_path_factory.mktemp("tiny"), n_train=5)).train


class Stopped(Exception):
    """What the tests end a fine-tuning with."""


def stop_after(epoch: int, reported: Mapping[str, float]) -> None:
    """Raise once `epoch` is finished."""
    if reported["epoch"] == epoch:
        raise Stopped


def ignore(_: Mapping[str, float]) -> None:
    """Take in a report and do nothing."""


def tune(
    samples: tuple[Sample, ...],
    checkpoint: Path,
    *,
    student: DetectionModel | None = None,
    recipe: FinetuneRecipe = RECIPE,
    stop: int = 0,
) -> DetectionModel:
    """Return the tiny detector, or `student`, fine-tuned towards itself on the CPU."""
    return finetune(
        student or detector(),
        detector(),
        samples,
        recipe=recipe,
        checkpoint=checkpoint,
        report=partial(stop_after, stop) if stop else ignore,
        device="cpu",
    )


def assert_equal(first: DetectionModel, second: DetectionModel) -> None:
    for (name, a), b in zip(first.state_dict().items(), second.state_dict().values(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-6, msg=name)


def narrowed(model: DetectionModel) -> DetectionModel:
    """Return a copy whose first convolution has half its channels, as no YAML describes it."""
    cut = copy.deepcopy(model)
    first, second = cut.model[0], cut.model[1]
    keep = first.conv.out_channels // 2
    first.conv.weight = nn.Parameter(first.conv.weight.data[:keep].clone())
    first.conv.out_channels = keep
    first.bn = nn.BatchNorm2d(keep, eps=first.bn.eps, momentum=first.bn.momentum)
    second.conv.weight = nn.Parameter(second.conv.weight.data[:, :keep].clone())
    second.conv.in_channels = keep
    return cut.eval()


def test_cut_network_keeps_every_shape_and_learns(samples: tuple[Sample, ...], tmp_path: Path) -> None:
    student = narrowed(detector())
    tuned = tune(samples, tmp_path / "c.pt", student=student)
    before, after = student.state_dict(), tuned.state_dict()
    assert {name: value.shape for name, value in before.items()} == {name: value.shape for name, value in after.items()}
    assert sum(p.numel() for p in tuned.parameters()) == sum(p.numel() for p in student.parameters())
    assert not torch.equal(before["model.0.conv.weight"], after["model.0.conv.weight"])
    assert torch.equal(before["model.24.dfl.conv.weight"], after["model.24.dfl.conv.weight"])


def test_result_is_ready_for_use(samples: tuple[Sample, ...], tmp_path: Path) -> None:
    tuned = tune(samples, tmp_path / "c.pt")
    assert not tuned.training
    assert all(v.dtype is torch.float32 and v.is_contiguous() for v in tuned.state_dict().values() if v.ndim)
    assert tuned.model[0].bn.momentum == detector().model[0].bn.momentum
    with torch.no_grad():
        assert tuned(torch.rand(1, 3, 64, 64))[0].isfinite().all()


def test_student_and_parent_are_left_as_they_are(samples: tuple[Sample, ...], tmp_path: Path) -> None:
    student, parent = copy.deepcopy(detector()), copy.deepcopy(detector())
    recipe = replace(RECIPE, epochs=1)
    finetune(student, parent, samples, recipe=recipe, checkpoint=tmp_path / "c.pt", report=ignore, device="cpu")
    for model in (student, parent):
        assert_equal(model, detector())
        assert not model.training
        assert hasattr(model.model[0], "bn")


def test_stopped_run_ends_as_the_uninterrupted_one(
    samples: tuple[Sample, ...], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    whole = tune(samples, tmp_path / "whole.pt")
    with pytest.raises(Stopped):
        tune(samples, tmp_path / "stopped.pt", stop=1)
    assert_equal(tune(samples, tmp_path / "stopped.pt"), whole)
    assert not caplog.records
    assert_equal(tune(samples, tmp_path / "stopped.pt"), whole)  # from the finished checkpoint: nothing is left to do
    assert sorted(path.name for path in tmp_path.iterdir()) == ["stopped.pt", "whole.pt"]


@pytest.mark.parametrize("damage", ["cut", "flipped", "text", "empty", "other shapes", "other recipe"])
def test_useless_checkpoint_starts_again_and_says_why(
    samples: tuple[Sample, ...], tmp_path: Path, caplog: pytest.LogCaptureFixture, damage: str
) -> None:
    recipe, path = replace(RECIPE, epochs=1), tmp_path / "c.pt"
    whole = tune(samples, path, recipe=recipe)
    match damage:
        case "cut":
            path.write_bytes(path.read_bytes()[:-1000])
        case "flipped":
            content = bytearray(path.read_bytes())
            content[len(content) // 2] ^= 1  # in the middle of a tensor, where no unpickler looks
            path.write_bytes(content)
        case "text":
            path.write_text("no checkpoint")
        case "empty":
            path.write_bytes(b"")
        case "other shapes":
            tune(samples, tmp_path / "other.pt", student=narrowed(detector()), recipe=recipe)
            (tmp_path / "other.pt").replace(path)
        case "other recipe":
            tune(samples, path, recipe=replace(recipe, lr=1e-5))
    caplog.clear()
    with caplog.at_level(logging.WARNING):
        again = tune(samples, path, recipe=recipe)
    assert_equal(again, whole)
    assert ("other" in damage) == ("is of a" in caplog.text) and "starts again" in caplog.text


def test_loss_that_is_not_finite_names_epoch_and_step(samples: tuple[Sample, ...], tmp_path: Path) -> None:
    broken = copy.deepcopy(detector())
    broken.model[3].conv.weight.data.fill_(float("nan"))
    with pytest.raises(FloatingPointError, match="epoch 1, step 1"):
        tune(samples, tmp_path / "c.pt", student=broken)
    assert not (tmp_path / "c.pt").exists()


def test_every_epoch_is_reported(samples: tuple[Sample, ...], tmp_path: Path) -> None:
    reports: list[Mapping[str, float]] = []
    recipe = replace(RECIPE, distill=0.0)
    finetune(
        detector(),
        detector(),
        samples,
        recipe=recipe,
        checkpoint=tmp_path / "c.pt",
        report=reports.append,
        device="cpu",
    )
    assert [report["epoch"] for report in reports] == [1, 2]
    assert all(report["loss"] == report["task_loss"] > 0 for report in reports)


@settings(deadline=None)
@given(n_steps=st.integers(1, 1000), n_warm_up=st.integers(1, 50), step=st.integers(0, 999))
def test_learning_rate_stays_between_zero_and_the_highest(n_steps: int, n_warm_up: int, step: int) -> None:
    assert 0 < learning_rate(min(step, n_steps - 1), n_steps=n_steps, n_warm_up=n_warm_up) <= 1


def test_learning_rate_rises_and_then_falls_to_its_last_value() -> None:
    rates = [learning_rate(step, n_steps=100, n_warm_up=9) for step in range(100)]
    assert rates[:10] == sorted(rates[:10])
    assert rates[9:] == sorted(rates[9:], reverse=True)
    assert rates[9] == 1.0
    assert rates[-1] == pytest.approx(LAST_LR, abs=1e-3)
