import copy
import logging
import shutil
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch
from torch import nn
from ultralytics.nn.tasks import DetectionModel

from evaluators.data.dataset import Sample
from leaderboards.recipes.parts import Parts
from leaderboards.tuning.finetune import FinetuneRecipe, default_lr, finetune, finetune_recipe
from spaces.cutting.mask import Granularity, Mask
from spaces.cutting.masks import kept, weighted_layers
from tests.spaces.detectors.yolov5.tiny import tiny
from tests.spaces.untrained import detector

RECIPE = FinetuneRecipe(epochs=2, imgsz=64, batch=2)
pytestmark = pytest.mark.usefixtures("one_thread")


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


def test_masked_weights_stay_zero_whatever_trains_averages_or_resumes(
    samples: tuple[Sample, ...], tmp_path: Path
) -> None:
    student = copy.deepcopy(detector())
    for layer in weighted_layers(student).values():
        layer.weight.data.mul_(kept(layer.weight, Mask(Granularity.WEIGHT, 50)))
    recipe = replace(RECIPE, keep_zeros=True, weight_decay=0.1, lr=1e-2)
    with pytest.raises(Stopped):
        tune(samples, tmp_path / "c.pt", student=student, recipe=recipe, stop=1)
    tuned = tune(samples, tmp_path / "c.pt", student=student, recipe=recipe)
    before, after = weighted_layers(student), weighted_layers(tuned)
    for name, layer in before.items():
        assert torch.equal(layer.weight == 0, after[name].weight == 0), name
        assert not torch.equal(layer.weight, after[name].weight), name


def test_anchor_based_network_learns_from_labels_and_parent(samples: tuple[Sample, ...], tmp_path: Path) -> None:
    student, reports = tiny("yolov5n"), list[Mapping[str, float]]()
    checkpoint = tmp_path / "c.pt"
    tuned = finetune(
        student, student, samples, recipe=RECIPE, checkpoint=checkpoint, report=reports.append, device="cpu"
    )
    assert all(report["task_loss"] > 0 and report["distill_loss"] > 0 for report in reports)
    before, after = student.state_dict(), tuned.state_dict()
    assert not torch.equal(before["model.24.m.0.weight"], after["model.24.m.0.weight"])
    assert torch.equal(before["model.24.anchors"], after["model.24.anchors"])


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


@pytest.fixture(scope="module")
def finished(samples: tuple[Sample, ...], tmp_path_factory: pytest.TempPathFactory) -> tuple[DetectionModel, Path]:
    """Return a network tuned for one epoch and its checkpoint."""
    path = tmp_path_factory.mktemp("finished") / "c.pt"
    return tune(samples, path, recipe=replace(RECIPE, epochs=1)), path


@pytest.mark.parametrize("damage", ["cut", "flipped", "text", "empty", "other shapes", "other recipe"])
def test_useless_checkpoint_starts_again_and_says_why(
    finished: tuple[DetectionModel, Path],
    samples: tuple[Sample, ...],
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    damage: str,
) -> None:
    recipe, path = replace(RECIPE, epochs=1), tmp_path / "c.pt"
    whole, sound = finished
    shutil.copy(sound, path)
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


@pytest.mark.parametrize(("n_classes", "lr"), [(80, 0.01 / 84), (10, 0.01 / 14), (3, 1e-3), (1, 1e-3)])
def test_the_learning_rate_falls_with_the_number_of_classes_as_ultralytics_has_it(n_classes: int, lr: float) -> None:
    assert default_lr(n_classes) == pytest.approx(lr, abs=5e-7)  # six digits


def test_without_labels_only_the_parent_is_learned(samples: tuple[Sample, ...], tmp_path: Path) -> None:
    reports: list[Mapping[str, float]] = []
    student, recipe = narrowed(detector()), replace(RECIPE, reads_labels=False)
    bare = tuple(replace(sample, labels=sample.labels[:0]) for sample in samples)
    tuned = [
        finetune(
            student,
            detector(),
            each,
            recipe=recipe,
            checkpoint=tmp_path / f"{len(each[0].labels)}.pt",
            report=reports.append,
            device="cpu",
        )
        for each in (samples, bare)
    ]
    assert_equal(*tuned)
    assert all(report["task_loss"] == 0 and report["distill_loss"] > 0 for report in reports)
    before, after = student.state_dict(), tuned[0].state_dict()
    assert any(not torch.equal(before[name], after[name]) for name in before)


@pytest.mark.parametrize("freezes_bn", [True, False])
def test_frozen_batchnorm_keeps_its_statistics_and_learns_its_scales(
    samples: tuple[Sample, ...], tmp_path: Path, freezes_bn: bool
) -> None:
    recipe = replace(RECIPE, freezes_bn=freezes_bn)
    before, after = detector().state_dict(), tune(samples, tmp_path / "checkpoint.pt", recipe=recipe).state_dict()
    means = [name for name in before if name.endswith("running_mean")]
    assert all(torch.equal(before[name], after[name]) for name in means) == freezes_bn
    scales = [name for name in before if name.endswith("bn.weight")]
    assert any(not torch.equal(before[name], after[name]) for name in scales)


@pytest.mark.parametrize(("lr", "n_classes", "freezes_bn"), [(None, 80, True), (None, 3, False), (4e-4, 3, True)])
def test_a_gentle_training_keeps_the_statistics(
    parts: Parts, lr: float | None, n_classes: int, freezes_bn: bool
) -> None:
    assert finetune_recipe(replace(parts.tuning, lr=lr), n_classes=n_classes).freezes_bn == freezes_bn
