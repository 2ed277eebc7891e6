import os
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from evaluators.accuracy.average_precision import Tally, precision_table, tally
from evaluators.accuracy.resampled_map import draw_images, load_tally, resampled_map, save_tally
from evaluators.data.images import Images
from tests.evaluators.accuracy.test_average_precision import Predictions, random_case


def case(seed: int, *, n_images: int, n_found: int) -> tuple[Predictions, Images]:
    """Return a random case without ties, as copies of one image may be ordered in more than one way where some tie."""
    predictions, images = random_case(seed, n_images=n_images, n_found=n_found)
    scores = np.random.default_rng(seed).permutation(n_images * n_found).reshape(n_images, n_found)
    for found, score in zip(predictions, scores, strict=True):
        found[:, 4] = (score + 1) / (n_images * n_found + 1)
    return predictions, images


def copied(predictions: Predictions, images: Images, counts: NDArray[np.int64]) -> tuple[Predictions, Images]:
    """Return the split in which image i occurs counts[i] times, as separate images."""
    order = np.repeat(np.arange(len(images)), counts)
    boxes = [images.boxes[images.boxes[:, 0] == index] for index in order]
    for place, rows in enumerate(boxes):
        rows[:, 0] = place
    drawn = Images(
        images.pixels[order], images.shapes[order], images.gains[order], images.pads[order], np.concatenate(boxes)
    )
    return [predictions[index] for index in order], drawn


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), n_images=st.integers(1, 6), n_found=st.sampled_from([1, 12, 60]))
def test_each_resample_has_the_map_of_a_split_with_copies_of_its_images(seed: int, n_images: int, n_found: int) -> None:
    predictions, images = case(seed, n_images=n_images, n_found=n_found)
    counts = np.random.default_rng(seed).multinomial(n_images, np.full(n_images, 1 / n_images), 5)
    if not len(images.boxes):
        return
    found = resampled_map(tally(predictions, images), counts)
    for value, row in zip(found, counts, strict=True):
        drawn = copied(predictions, images, row)
        if len(drawn[1].boxes):
            assert value == pytest.approx(precision_table(*drawn).mean(), abs=1e-12)
        else:
            assert np.isnan(value)


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), n_images=st.integers(1, 8), n_found=st.sampled_from([1, 12, 60]))
def test_each_image_once_gives_the_map_of_the_split_ties_and_all(seed: int, n_images: int, n_found: int) -> None:
    predictions, images = random_case(seed, n_images=n_images, n_found=n_found)
    if len(images.boxes):
        (value,) = resampled_map(tally(predictions, images), np.ones((1, n_images), np.int64))
        assert value == pytest.approx(precision_table(predictions, images).mean(), abs=1e-12)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_what_is_saved_loses_nothing_that_counts(seed: int, tmp_path_factory: pytest.TempPathFactory) -> None:
    whole = tally(*random_case(seed, n_images=40, n_found=6))
    path = tmp_path_factory.mktemp("tally") / "detections.npz"
    save_tally(whole, path)
    counts = draw_images(40)
    np.testing.assert_array_equal(resampled_map(load_tally(path), counts), resampled_map(whole, counts))


def test_a_last_hit_at_a_high_threshold_alone_is_kept(tmp_path: Path) -> None:
    """The truth goes to the first detection (IoU 0.6) up to there, to the second (0.8) from 0.65 on."""
    first, second = np.arange(10) < 3, (np.arange(10) >= 3) & (np.arange(10) < 7)
    found = Tally(np.zeros(3, int), np.zeros(3, int), np.array([first, second, first & second]), np.ones((1, 1), int))
    save_tally(found, tmp_path / "detections.npz")
    loaded = load_tally(tmp_path / "detections.npz")
    assert len(loaded.image) == 2  # the miss at the end is not
    (value,) = resampled_map(loaded, np.ones((1, 1), np.int64))
    assert value == pytest.approx((3 * 1 + 4 * 0.5) / 10)


def test_draws_are_seeded_and_each_has_as_many_images_as_the_split() -> None:
    drawn = draw_images(9)
    assert drawn.shape == (200, 9)
    assert (drawn.sum(1) == 9).all()
    assert (drawn == draw_images(9)).all()
    assert (drawn != draw_images(9, seed=1)).any()


def test_a_split_of_thousands_of_detections_takes_seconds_at_most() -> None:
    rng = np.random.default_rng(0)
    kind = np.repeat(np.arange(10), 4000)
    is_right = rng.random((40_000, 1)) < np.linspace(0.12, 0.02, 10)
    many = Tally(rng.integers(256, size=40_000), kind, is_right, rng.integers(3, size=(256, 10)))
    started = time.process_time()
    assert np.isfinite(resampled_map(many, draw_images(256))).all()
    assert time.process_time() - started < 5


def test_a_broken_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "detections.npz"
    path.write_bytes(os.urandom(64))
    with pytest.raises(ValueError, match="pickle"):
        load_tally(path)
