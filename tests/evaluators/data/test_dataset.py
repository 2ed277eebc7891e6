import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from evaluators.data.dataset import load_dataset
from evaluators.data.digits import render_digits
from spaces.errors import BadInput
from tests.evaluators.tiny import BOX, YAML, write_dataset


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
    path = write_dataset(tmp_path, n_train=10)
    images = tmp_path / "images" / "train"
    (images / "5.png").write_bytes(b"")  # 1 of 10 is just allowed
    dataset = load_dataset(path)
    assert len(dataset.train) == 9
    told = f"{path}: train: images that are not there or cannot be read: 1 of 10, first {images / '5.png'}; left out"
    assert dataset.warnings == (told,)
    (images / "6.png").write_bytes(b"GIF89a")
    with pytest.raises(BadInput, match=r"train: images .*: 2 of 10, first .*5.png; at most 10 % may be so$"):
        load_dataset(path)


def test_listed_images_that_are_not_there_are_left_out_and_named(tmp_path: Path) -> None:
    path = write_dataset(tmp_path, yaml=YAML.replace("images/train", "train.txt"), n_train=10)
    names = [f"./images/train/{index}.png\n" for index in range(10)]
    (tmp_path / "train.txt").write_text("".join([*names, "gone.png\n", names[0]]), encoding="utf-8")
    dataset = load_dataset(path)
    assert len(dataset.train) == 10
    missing, doubled = dataset.warnings
    assert f"1 of 11, first {tmp_path / 'train.txt'}:11: 'gone.png'; left out" in missing
    assert f"named twice and count once: 1 of 10, first {tmp_path / 'images/train/0.png'}" in doubled


def test_picture_in_both_splits_leaves_train(tmp_path: Path) -> None:
    path = write_dataset(tmp_path, n_train=10)
    whole = load_dataset(path)
    for index in (3, 4):  # in val twice, and under another name
        shutil.copyfile(tmp_path / "images" / "train" / "3.png", tmp_path / "images" / "val" / f"{index + 4}.png")
    dataset = load_dataset(path)
    assert [sample.image.name for sample in dataset.val] == ["0.png", "1.png", "7.png", "8.png"]
    assert [sample.image.name for sample in dataset.train] == [f"{index}.png" for index in range(10) if index != 3]
    assert "images that are in val too: 1 of 10" in dataset.warnings[0]
    assert dataset.fingerprint != whole.fingerprint
    shutil.copyfile(tmp_path / "images" / "train" / "5.png", tmp_path / "images" / "val" / "9.png")
    with pytest.raises(BadInput, match=r"in val too: 2 of 10, .*train/3.png is the same as .*; at most 10 % may be so"):
        load_dataset(path)


def test_bad_lines_and_unread_label_files_are_left_out_and_counted(tmp_path: Path) -> None:
    path = write_dataset(tmp_path, n_train=10)
    labels = tmp_path / "labels" / "train"
    (labels / "0.txt").write_text(BOX * 2 + "0 0.5 0.5 0.1 0\n" + "0 0.5 1.005 0.5 0.5\n", encoding="utf-8")
    (labels / "1.txt").write_bytes(b"0 \xff")
    (labels / "2.txt").write_text("1 .1 .2 .3 .2 .3 .4\n", encoding="utf-8")
    dataset = load_dataset(path)
    assert [sample.image.name for sample in dataset.train] == [f"{index}.png" for index in range(10) if index != 1]
    assert dataset.train[0].labels.tolist() == [[0, 0.5, 0.5, 0.25, 0.5], [0, 0.5, 1, 0.5, 0.5]]
    unread, faults, clipped, polygons = dataset.warnings
    assert f"labels cannot be read: 1 of 10, first {labels / '1.txt'}: not text in UTF-8; left out" in unread
    assert f"1 of 12, first {labels / '0.txt'}:3: width and height must be above 0, got 0.1 and 0; left out" in faults
    assert clipped.endswith(f"1 of 12, first {labels / '0.txt'}:4")
    assert polygons.endswith(f"1 of 12, first {labels / '2.txt'}:1")


def test_bad_lines_above_a_tenth_are_refused(tmp_path: Path) -> None:
    path = write_dataset(tmp_path)
    (tmp_path / "labels" / "val" / "1.txt").write_text("2 0.5 0.5 0.1 0.1\n", encoding="utf-8")
    expected = r"val: label lines that are no box: 1 of 2, first .*1.txt:1: class must be .* got 2; at most 10 %"
    with pytest.raises(BadInput, match=expected):
        load_dataset(path)


def test_split_without_boxes_is_refused(tmp_path: Path) -> None:
    path = write_dataset(tmp_path)
    shutil.rmtree(tmp_path / "labels" / "val")
    with pytest.raises(BadInput, match=r"val must have boxes, got none in 2 images; .*labels/val/0.txt"):
        load_dataset(path)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_file_that_may_not_be_read_is_named(tmp_path: Path) -> None:
    path = write_dataset(tmp_path)
    (tmp_path / "labels" / "val" / "0.txt").chmod(0)
    with pytest.raises(BadInput, match=r"0.txt: Permission denied; at most 10 %"):
        load_dataset(path)


def test_folder_in_place_of_a_file_is_named(tmp_path: Path) -> None:
    path = write_dataset(tmp_path)
    with pytest.raises(BadInput, match="cannot be read: Is a directory"):
        load_dataset(tmp_path)
    (tmp_path / "labels" / "val" / "1.txt").unlink()
    (tmp_path / "labels" / "val" / "1.txt").mkdir()
    with pytest.raises(BadInput, match=r"1.txt: Is a directory; at most 10 %"):
        load_dataset(path)


@pytest.mark.skipif("REAL_DATA" not in os.environ, reason="needs the shared data sets")
@pytest.mark.parametrize(("name", "counts"), [("bccd", (205, 87, 3)), ("coco128", (128, 128, 80))])
def test_real_data_sets_load(name: str, counts: tuple[int, int, int]) -> None:
    dataset = load_dataset(Path(os.environ["REAL_DATA"]) / "data" / name / "data.yaml")
    assert (len(dataset.train), len(dataset.val), len(dataset.names)) == counts
    assert [told for told in dataset.warnings if "without a label file" not in told] == []
