from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn.datasets import load_digits

from evaluators.data.digits import IMGSZ, Scene, render_digits, render_scene

SEED = 5
COUNTS = {"train": 3, "val": 2}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a rendered set."""
    folder = tmp_path_factory.mktemp("digits")
    return render_digits(folder, n_train=COUNTS["train"], n_val=COUNTS["val"], seed=SEED).parent


def halves(seed: int) -> dict[str, NDArray[np.bool_]]:
    """Return which scans each split may use: a fifth, drawn by the seed, is val's alone."""
    is_val = np.random.default_rng(seed).permutation(1797) < 359
    return {"train": ~is_val, "val": is_val}


def scene(is_chosen: NDArray[np.bool_], rng: np.random.Generator) -> Scene:
    digits = load_digits()
    return render_scene((digits.images[is_chosen] / 16).astype(np.float32), digits.target[is_chosen], rng)


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_the_same_seed_renders_the_same_bytes_and_another_seed_others(data: Path, tmp_path: Path) -> None:
    same, other = (render_digits(tmp_path, n_train=3, n_val=2, seed=seed).parent for seed in (SEED, SEED + 1))
    assert contents(same) == contents(data)
    differing = {name for name, content in contents(other).items() if content != contents(data)[name]}
    assert differing == set(contents(data)) - {"data.yaml"}


def test_a_longer_set_begins_with_the_shorter_one(data: Path, tmp_path: Path) -> None:
    longer = contents(render_digits(tmp_path, n_train=4, n_val=2, seed=SEED).parent)
    assert contents(data).items() <= longer.items()
    assert len(longer) == len(contents(data)) + 2


@pytest.mark.parametrize("split", ["train", "val"])
def test_each_split_is_drawn_from_scans_of_its_own(split: str, data: Path) -> None:
    allowed = halves(SEED)
    assert not (allowed["train"] & allowed["val"]).any()
    for number in range(COUNTS[split]):
        drawn = scene(allowed[split], np.random.default_rng([SEED, split == "val", number]))
        _, encoded = cv2.imencode(".jpg", drawn.image, [cv2.IMWRITE_JPEG_QUALITY, 92])
        assert (data / "images" / split / f"{number:05d}.jpg").read_bytes() == encoded.tobytes()
        labels = np.loadtxt(data / "labels" / split / f"{number:05d}.txt", ndmin=2)
        np.testing.assert_allclose(labels, drawn.labels, atol=1e-6)


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 2**32 - 1))
def test_boxes_are_inside_the_image_and_around_something(seed: int) -> None:
    drawn = scene(np.ones(1797, bool), np.random.default_rng(seed))
    assert drawn.image.shape == (IMGSZ, IMGSZ, 3)
    assert drawn.image.dtype == np.uint8
    classes, centres, sizes = drawn.labels[:, 0], drawn.labels[:, 1:3], drawn.labels[:, 3:]
    assert np.isin(classes, range(10)).all()
    assert (centres - sizes / 2 >= -1e-9).all()
    assert (centres + sizes / 2 <= 1 + 1e-9).all()
    assert (sizes * IMGSZ >= 1 - 1e-9).all()
    assert len(drawn.labels) <= 9


def test_a_set_that_is_there_is_not_rendered_again(data: Path) -> None:
    before = (data / "data.yaml").stat().st_mtime_ns
    again = render_digits(data.parent, n_train=COUNTS["train"], n_val=COUNTS["val"], seed=SEED)
    assert again == data / "data.yaml"
    assert again.stat().st_mtime_ns == before
    assert [path.name for path in data.parent.iterdir()] == [data.name]  # nothing half-rendered is left


def test_the_description_names_ten_classes_and_both_splits(data: Path) -> None:
    description = yaml.safe_load((data / "data.yaml").read_text(encoding="utf-8"))
    assert description["names"] == {index: str(index) for index in range(10)}
    assert {split: len(list((data / description[split]).iterdir())) for split in COUNTS} == COUNTS
