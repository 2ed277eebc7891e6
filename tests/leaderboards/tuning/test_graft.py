import copy
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from ultralytics.nn.tasks import DetectionModel

from evaluators.data.dataset import Sample
from leaderboards.tuning.finetune import FinetuneRecipe
from leaderboards.tuning.graft import FLOOR, graft, graft_recipe, make_parent
from leaderboards.tuning.training import TrainingRecipe
from spaces.detectors.backbones.swap import Backbone, swap_backbone
from tests.leaderboards.tuning.test_finetune import Stopped, assert_equal, ignore, stop_after
from tests.spaces.untrained import detector

NAME = "mobilenetv3_small"
RECIPE = TrainingRecipe(epochs=2, imgsz=64, batch=2, lr=3e-3)
TUNING = FinetuneRecipe(epochs=2, imgsz=64, batch=2)
pytestmark = pytest.mark.usefixtures("one_thread")


def grafted(
    samples: tuple[Sample, ...], checkpoint: Path, *, recipe: TrainingRecipe = RECIPE, stop: int = 0
) -> DetectionModel:
    """Return the tiny detector with another backbone, grafted on the CPU."""
    report = partial(stop_after, stop) if stop else ignore
    swapped = swap_backbone(detector(), NAME)
    return graft(swapped, detector(), samples, recipe=recipe, checkpoint=checkpoint, report=report, device="cpu")


def test_the_backbone_learns_and_neck_and_head_stay_bit_for_bit(samples: tuple[Sample, ...], tmp_path: Path) -> None:
    swapped = swap_backbone(detector(), NAME)
    reports: list[Mapping[str, float]] = []
    model = graft(
        swapped,
        detector(),
        samples,
        recipe=replace(RECIPE, epochs=8),
        checkpoint=tmp_path / "c.pt",
        report=reports.append,
        device="cpu",
    )
    assert [report["epoch"] for report in reports] == list(range(1, 9))
    for report in reports:
        assert report["loss"] == pytest.approx(report["p3_loss"] + report["p4_loss"] + report["p5_loss"])
        assert report["seconds"] > 0
    assert reports[-1]["loss"] < 0.8 * reports[0]["loss"]
    before, after = swapped.state_dict(), model.state_dict()
    late = [name for name in before if int(name.split(".")[1]) > 9]
    assert late
    assert all(torch.equal(before[name], after[name]) for name in late)
    assert not torch.equal(before["model.3.0.weight"], after["model.3.0.weight"])
    assert not torch.equal(before["model.9.cv1.conv.weight"], after["model.9.cv1.conv.weight"])  # pooling learns too
    assert_equal(swapped, swap_backbone(detector(), NAME))  # it is left as it was
    assert not model.training
    assert model.yaml["backbone_name"] == NAME


def test_the_loss_is_the_error_in_units_of_the_parents_variance(samples: tuple[Sample, ...], tmp_path: Path) -> None:
    # one epoch of one batch: what is reported is the loss of the student before any step, its BatchNorm in training
    seen: list[torch.Tensor] = []
    student = swap_backbone(detector(), NAME)
    handle = student.model[0].register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].clone()))
    reports: list[Mapping[str, float]] = []
    recipe = replace(RECIPE, epochs=1, batch=5)
    graft(
        student,
        detector(),
        samples,
        recipe=recipe,
        checkpoint=tmp_path / "c.pt",
        report=reports.append,
        device="cpu",
    )
    handle.remove()
    images = next(batch for batch in seen if len(batch) == 5)  # what comes after it calibrates BatchNorm
    assert images.shape == (5, 3, 64, 64)
    with torch.no_grad():
        made = [x.numpy() for x in Backbone(swap_backbone(detector(), NAME).train())(images)]
        wanted = [x.numpy() for x in Backbone(detector())(images)]
        plain = Backbone(detector())(_letterboxed(samples))
    for level, a, b, reference in zip((3, 4, 5), made, wanted, plain, strict=True):
        variances = reference.numpy().swapaxes(0, 1).reshape(a.shape[1], -1).var(axis=1, ddof=1)
        scale = np.maximum(variances, FLOOR * variances.mean())
        naive = np.mean([np.mean((a[:, c] - b[:, c]) ** 2) / scale[c] for c in range(a.shape[1])])
        assert reports[0][f"p{level}_loss"] == pytest.approx(naive, rel=1e-3)


def _letterboxed(samples: tuple[Sample, ...]) -> torch.Tensor:
    from evaluators.data.images import load_images

    return load_images(samples, imgsz=64).tensor()


def test_labels_are_not_read(samples: tuple[Sample, ...], tmp_path: Path) -> None:
    bare = tuple(Sample(sample.image, np.zeros((0, 5), np.float32)) for sample in samples)
    recipe = replace(RECIPE, epochs=1)
    first = grafted(samples, tmp_path / "a.pt", recipe=recipe)
    assert_equal(grafted(bare, tmp_path / "b.pt", recipe=recipe), first)


def test_a_stopped_graft_ends_as_the_uninterrupted_one(samples: tuple[Sample, ...], tmp_path: Path) -> None:
    whole = grafted(samples, tmp_path / "whole.pt")
    with pytest.raises(Stopped):
        grafted(samples, tmp_path / "stopped.pt", stop=1)
    assert_equal(grafted(samples, tmp_path / "stopped.pt"), whole)


def parent_in(folder: Path, samples: tuple[Sample, ...], *, stop: int = 0) -> tuple[DetectionModel, int]:
    """Return the detector of `make_parent` in `folder`, and how many epochs were trained for it in this call."""
    n_epochs = 0

    def report(_: Mapping[str, float]) -> None:
        nonlocal n_epochs
        n_epochs += 1
        if n_epochs == stop:
            raise Stopped

    model = make_parent(
        detector(),
        NAME,
        samples,
        folder=folder,
        tensors=None,
        grafting=RECIPE,
        tuning=TUNING,
        report=report,
        device="cpu",
    )
    return model, n_epochs


@pytest.fixture(scope="module")
def whole(samples: tuple[Sample, ...], tmp_path_factory: pytest.TempPathFactory) -> DetectionModel:
    """Return the uninterrupted one."""
    model, n_epochs = parent_in(tmp_path_factory.mktemp("whole"), samples)
    assert n_epochs == 4
    return model


@pytest.mark.parametrize("stop", [1, 3])  # in the first of two epochs of the graft, and of the fine-tuning
def test_a_new_parent_is_made_once_and_goes_on_where_it_was_stopped(
    stop: int, whole: DetectionModel, samples: tuple[Sample, ...], tmp_path: Path
) -> None:
    with pytest.raises(Stopped):
        parent_in(tmp_path / "stopped", samples, stop=stop)
    again, n_epochs = parent_in(tmp_path / "stopped", samples)
    assert n_epochs == 4 - stop
    assert_equal(again, whole)
    kept, n_epochs = parent_in(tmp_path / "stopped", samples)
    assert n_epochs == 0
    assert_equal(kept, whole)
    assert sorted(path.name for path in (tmp_path / "stopped").iterdir()) == ["architecture.json", "model.safetensors"]


def test_a_parent_is_made_with_pretrained_tensors(samples: tuple[Sample, ...], tmp_path: Path) -> None:
    drawn = swap_backbone(detector(), NAME).state_dict()
    stem = torch.full((16, 3, 3, 3), 0.25)
    model = make_parent(
        detector(),
        NAME,
        samples,
        folder=tmp_path,
        tensors={"conv_stem.weight": stem},
        grafting=replace(RECIPE, epochs=0),
        tuning=replace(TUNING, epochs=0),
        report=ignore,
        device="cpu",
    )
    assert torch.equal(model.state_dict()["model.3.0.weight"], stem)
    assert torch.equal(model.state_dict()["model.10.conv.weight"], drawn["model.10.conv.weight"])


def test_a_run_grafts_on_the_images_that_it_fine_tunes_on() -> None:
    tuning = FinetuneRecipe(epochs=3, imgsz=96, batch=4, lr=1e-4, distill=5.0, flip=0.0, mosaic=0.5, seed=7)
    recipe = graft_recipe(tuning, epochs=2)
    assert (recipe.epochs, recipe.imgsz, recipe.batch, recipe.flip, recipe.mosaic, recipe.seed) == (2, 96, 4, 0, 0.5, 7)
    assert recipe.lr != tuning.lr  # from scratch


def test_the_parent_is_left_as_it_is(samples: tuple[Sample, ...], tmp_path: Path) -> None:
    parent = copy.deepcopy(detector())
    graft(
        swap_backbone(parent, NAME),
        parent,
        samples,
        recipe=replace(RECIPE, epochs=1),
        checkpoint=tmp_path / "c.pt",
        report=ignore,
        device="cpu",
    )
    assert_equal(parent, detector())
    assert hasattr(parent.model[0], "bn")
