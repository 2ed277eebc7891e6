import os
import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evaluators.data.dataset import Sample, load_dataset, load_unlabelled, split_holdout
from evaluators.data.digits import render_digits
from spaces.errors import BadInput
from tests.evaluators.tiny import BOX, YAML, write_dataset, write_image


def test_samples_pair_images_with_their_boxes(tmp_path: Path) -> None:
    dataset = load_dataset(write_dataset(tmp_path))
    assert dataset.names == ("cat", "dog")
    assert [sample.image.name for sample in dataset.train] == ["0.png", "1.png", "2.png", "3.png"]
    assert all(sample.image.is_absolute() for sample in (*dataset.train, *dataset.val))
    np.testing.assert_array_equal(dataset.val[1].labels, np.array([[1, 0.5, 0.5, 0.25, 0.5]], np.float32))
    assert dataset.warnings == ()


def test_embedded_digits_load(tmp_path: Path) -> None:
    dataset = load_dataset(render_digits(tmp_path, n_train=6, n_val=3))
    assert (len(dataset.train), len(dataset.val), len(dataset.names)) == (6, 3, 10)


def test_fingerprint_survives_a_move_and_changes_with_labels(tmp_path: Path) -> None:
    first = load_dataset(write_dataset(tmp_path / "a"))
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    assert load_dataset(tmp_path / "b" / "data.yaml").fingerprint == first.fingerprint
    (tmp_path / "b" / "labels" / "val" / "0.txt").write_text(BOX.replace("0.25", "0.26"), encoding="utf-8")
    assert load_dataset(tmp_path / "b" / "data.yaml").fingerprint != first.fingerprint


def test_fingerprint_changes_with_names(tmp_path: Path) -> None:
    path = write_dataset(tmp_path)
    first = load_dataset(path).fingerprint
    path.write_text(YAML.replace("dog", "owl"), encoding="utf-8")
    assert load_dataset(path).fingerprint != first


def test_few_unreadable_images_are_left_out_with_a_warning(tmp_path: Path) -> None:
    path = write_dataset(tmp_path)
    for index in range(4, 100):
        shutil.copyfile(tmp_path / "images" / "train" / "0.png", tmp_path / "images" / "train" / f"{index}.png")
    (tmp_path / "images" / "train" / "50.png").write_bytes(b"")  # 1 of 100 is just allowed
    dataset = load_dataset(path)
    assert len(dataset.train) == 99
    assert len(dataset.warnings) == 1
    assert "1 of 100" in dataset.warnings[0]
    assert "50.png" in dataset.warnings[0]
    (tmp_path / "images" / "train" / "51.png").write_bytes(b"")
    with pytest.raises(BadInput, match=r"train has 2 of 100 images .* at most 1 %"):
        load_dataset(path)


def test_picture_in_both_splits_is_refused(tmp_path: Path) -> None:
    path = write_dataset(tmp_path)
    shutil.copyfile(tmp_path / "images" / "train" / "3.png", tmp_path / "images" / "val" / "7.png")
    with pytest.raises(BadInput, match=r"must not share images, got 1: .*val/7.png is the same as .*train/3.png"):
        load_dataset(path)


def test_unlabelled_images_are_those_that_the_data_set_does_not_have(tmp_path: Path) -> None:
    dataset = load_dataset(write_dataset(tmp_path / "data"))
    folder = tmp_path / "more"
    for index in range(3):
        write_image(folder / "deep" / f"{index}.png", seed=50 + index)
    shutil.copy(dataset.val[0].image, folder / "val.png")
    shutil.copy(dataset.train[0].image, folder / "train.png")
    found = load_unlabelled(folder, dataset)
    assert [sample.image.name for sample in found.samples] == ["0.png", "1.png", "2.png"]
    assert all(sample.labels.shape == (0, 5) for sample in found.samples)
    assert found.warnings == (f"images={str(folder)!r} has 2 of 5 images that are in train or val too; left out",)
    shutil.copy(folder / "deep" / "0.png", folder / "other.png")
    assert load_unlabelled(folder, dataset).fingerprint != found.fingerprint


def test_a_folder_without_an_image_of_its_own_is_refused(tmp_path: Path) -> None:
    dataset = load_dataset(write_dataset(tmp_path / "data"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(BadInput, match=r"^images=.*has no images"):
        load_unlabelled(tmp_path / "empty", dataset)
    with pytest.raises(BadInput, match=r"^images=.*has no image that is not in train or val"):
        load_unlabelled(dataset.val[0].image.parent, dataset)
    with pytest.raises(BadInput, match=r"^images=.*must be an existing folder"):
        load_unlabelled(tmp_path / "gone", dataset)


def test_split_without_boxes_is_refused(tmp_path: Path) -> None:
    path = write_dataset(tmp_path)
    shutil.rmtree(tmp_path / "labels" / "val")
    with pytest.raises(BadInput, match=r"val must have boxes, got none in 2 images; .*labels/val/0.txt"):
        load_dataset(path)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_file_that_may_not_be_read_is_named(tmp_path: Path) -> None:
    path = write_dataset(tmp_path)
    (tmp_path / "labels" / "val" / "0.txt").chmod(0)
    with pytest.raises(BadInput, match=r"0.txt: cannot be read"):
        load_dataset(path)


def test_folder_in_place_of_a_file_is_named(tmp_path: Path) -> None:
    path = write_dataset(tmp_path)
    with pytest.raises(BadInput, match="cannot be read: Is a directory"):
        load_dataset(tmp_path)
    (tmp_path / "labels" / "val" / "1.txt").unlink()
    (tmp_path / "labels" / "val" / "1.txt").mkdir()
    with pytest.raises(BadInput, match=r"1.txt: cannot be read: Is a directory"):
        load_dataset(path)


def samples_of(classes: list[list[int]]) -> list[Sample]:
    return [
        Sample(
            Path(f"/{index}.jpg"), np.array([[kind, 0.5, 0.5, 0.1, 0.1] for kind in kinds], np.float32).reshape(-1, 5)
        )
        for index, kinds in enumerate(classes)
    ]


CLASSES = st.lists(st.lists(st.integers(0, 5), max_size=3), min_size=3, max_size=30)


@given(CLASSES, st.integers(1, 20), st.integers(0, 3))
def test_holdout_is_a_seeded_partition_of_at_most_a_third(classes: list[list[int]], n_holdout: int, seed: int) -> None:
    samples = samples_of(classes)
    search, rest = split_holdout(samples, n_holdout=n_holdout, seed=seed)
    assert len(search) == min(n_holdout, len(samples) // 3)
    assert set(search) | set(rest) == set(samples)
    assert len(search) + len(rest) == len(samples)
    assert split_holdout(samples, n_holdout=n_holdout, seed=seed) == (search, rest)


@given(CLASSES, st.integers(1, 20), st.integers(0, 3))
def test_holdout_has_empty_images_only_when_the_others_are_used_up(
    classes: list[list[int]], n_holdout: int, seed: int
) -> None:
    images_of = Counter(kind for kinds in classes for kind in set(kinds))
    search, rest = split_holdout(samples_of(classes), n_holdout=n_holdout, seed=seed)
    if any(not len(sample.labels) for sample in search):
        left = Counter(int(kind) for sample in rest for kind in set(sample.labels[:, 0]))
        spare = [s for s in rest if len(s.labels) and all(left[int(kind)] > 1 for kind in s.labels[:, 0])]
        assert spare == []
        assert set(left) == set(images_of)


def test_holdout_covers_every_class_and_leaves_every_class() -> None:
    classes = [[0]] * 20 + [[1], [1], [2], [2], [3]]  # class 3 has one image, which must stay
    for seed in range(10):
        search, rest = split_holdout(samples_of(classes), n_holdout=3, seed=seed)
        assert {int(sample.labels[0, 0]) for sample in search} == {0, 1, 2}
        assert {int(sample.labels[0, 0]) for sample in rest} == {0, 1, 2, 3}


def test_holdout_differs_between_seeds() -> None:
    samples = samples_of([[0]] * 30)
    assert split_holdout(samples, n_holdout=10, seed=0) != split_holdout(samples, n_holdout=10, seed=1)


def test_holdout_of_too_few_images_is_refused() -> None:
    with pytest.raises(BadInput, match=r"at least 3 images .* got 2"):
        split_holdout(samples_of([[0], [0]]), n_holdout=1, seed=0)
    with pytest.raises(ValueError, match="n_holdout must be at least 1, got 0"):
        split_holdout(samples_of([[0]] * 3), n_holdout=0, seed=0)


@pytest.mark.skipif("REAL_DATA" not in os.environ, reason="needs the shared data sets")
@pytest.mark.parametrize(("name", "counts"), [("bccd", (205, 87, 3)), ("coco128", (128, 128, 80))])
def test_real_data_sets_load(name: str, counts: tuple[int, int, int]) -> None:
    dataset = load_dataset(Path(os.environ["REAL_DATA"]) / "data" / name / "data.yaml")
    assert (len(dataset.train), len(dataset.val), len(dataset.names)) == counts
    assert dataset.warnings == ()
