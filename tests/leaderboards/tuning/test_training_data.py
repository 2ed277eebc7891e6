from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from evaluators.data.dataset import Sample
from leaderboards.tuning.training_data import TrainingSet, augment, epoch_batches
from spaces.errors import BadInput

SIZE = 64


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> list[Sample]:
    """Seven black images of various shapes, each with one blue rectangle that is its box."""
    folder = tmp_path_factory.mktemp("blue")
    made = []
    for index in range(7):
        height, width = (96, 128) if index % 2 else (128, 80)
        image = np.zeros((height, width, 3), np.uint8)
        left, top, right, bottom = 16 + 4 * index, 20 + 2 * index, 40 + 4 * index, 60 + 2 * index
        image[top:bottom, left:right, 0] = 255
        path = folder / f"{index}.png"
        cv2.imwrite(str(path), image)
        box = [index % 3, (left + right) / 2 / width, (top + bottom) / 2 / height, 24 / width, 40 / height]
        made.append(Sample(path, np.array([box], np.float32)))
    return made


def inside(image: NDArray[np.uint8], boxes: NDArray[np.float32], *, margin: float) -> NDArray[np.bool_]:
    """Return which pixels have their centre in a box that is `margin` wider."""
    rows, columns = np.mgrid[: len(image), : len(image)] + 0.5
    found = np.zeros(image.shape[:2], bool)
    for _, left, top, right, bottom in boxes:
        found |= (
            (columns > left - margin) & (columns < right + margin) & (rows > top - margin) & (rows < bottom + margin)
        )
    return found


@settings(deadline=None, max_examples=40)
@given(index=st.integers(0, 6), seed=st.integers(0, 10_000), flip=st.sampled_from([0.0, 1.0]))
def test_box_stays_on_what_it_marks(samples: list[Sample], index: int, seed: int, flip: float) -> None:
    data = TrainingSet(samples, imgsz=SIZE)
    image, boxes = augment(data, index, np.random.default_rng(seed), flip=flip, mosaic=0.0)
    coloured = np.ptp(image, axis=2) > 0.4 * np.ptp(image, axis=2).max()  # black and grey stay without colour
    if len(boxes):
        assert not (coloured & ~inside(image, boxes, margin=1.5)).any()
        assert coloured[inside(image, boxes, margin=-1.5)].all()


@settings(deadline=None, max_examples=40)
@given(index=st.integers(0, 6), seed=st.integers(0, 10_000), mosaic=st.sampled_from([0.0, 1.0]))
def test_boxes_lie_within_the_image(samples: list[Sample], index: int, seed: int, mosaic: float) -> None:
    data = TrainingSet(samples, imgsz=SIZE)
    image, boxes = augment(data, index, np.random.default_rng(seed), flip=0.5, mosaic=mosaic)
    assert image.shape == (SIZE, SIZE, 3)
    assert len(boxes) <= 4
    assert (boxes[:, 1:] >= 0).all() and (boxes[:, 1:] <= SIZE).all()
    assert (boxes[:, 3:] > boxes[:, 1:3]).all()


def test_epoch_has_every_sample_once_in_an_order_of_its_own(samples: list[Sample]) -> None:
    data = TrainingSet(samples, imgsz=SIZE)
    sizes = [len(b.images) for b in epoch_batches(data, epoch=0, batch=3, flip=0.5, mosaic=0, seed=0)]
    assert sorted(sizes) == [2, 2, 3]


def test_same_seed_and_epoch_give_the_same_images_whatever_was_read_before(samples: list[Sample]) -> None:
    fresh, used = TrainingSet(samples, imgsz=SIZE), TrainingSet(samples, imgsz=SIZE)
    list(epoch_batches(used, epoch=0, batch=2, flip=0.5, mosaic=0.5, seed=1))
    first, second = (
        list(epoch_batches(data, epoch=1, batch=3, flip=0.5, mosaic=0.5, seed=1)) for data in (fresh, used)
    )
    for a, b in zip(first, second, strict=True):
        assert torch.equal(a.images, b.images)
        assert all(torch.equal(a.targets[name], b.targets[name]) for name in a.targets)
    other = next(epoch_batches(fresh, epoch=2, batch=3, flip=0.5, mosaic=0.5, seed=1))
    assert not torch.equal(first[0].images, other.images)


def test_targets_name_their_image_and_are_fractions(samples: list[Sample]) -> None:
    (batch,) = epoch_batches(TrainingSet(samples, imgsz=SIZE), epoch=0, batch=7, flip=0, mosaic=0, seed=0)
    n = len(batch.targets["batch_idx"])
    assert {name: tuple(value.shape) for name, value in batch.targets.items()} == {
        "batch_idx": (n,),
        "cls": (n, 1),
        "bboxes": (n, 4),
    }
    assert batch.images.shape == (7, 3, SIZE, SIZE)
    assert batch.images.is_contiguous(memory_format=torch.channels_last)
    assert float(batch.targets["bboxes"].min()) >= 0 and float(batch.targets["bboxes"].max()) <= 1


def test_image_without_boxes_gives_a_batch_without_targets(samples: list[Sample]) -> None:
    empty = [Sample(samples[0].image, np.zeros((0, 5), np.float32))]
    (batch,) = epoch_batches(TrainingSet(empty, imgsz=SIZE), epoch=0, batch=2, flip=0.5, mosaic=1.0, seed=0)
    assert batch.targets["bboxes"].shape == (0, 4)


def test_nothing_is_written_beside_the_images(samples: list[Sample]) -> None:
    before = sorted(samples[0].image.parent.iterdir())
    list(epoch_batches(TrainingSet(samples, imgsz=SIZE), epoch=0, batch=2, flip=0, mosaic=0, seed=0))
    assert sorted(samples[0].image.parent.iterdir()) == before


def test_vanished_image_is_bad_input(tmp_path: Path) -> None:
    gone = [Sample(tmp_path / "gone.png", np.zeros((0, 5), np.float32))]
    with pytest.raises(BadInput, match=r"gone\.png"):
        TrainingSet(gone, imgsz=SIZE)[0]
