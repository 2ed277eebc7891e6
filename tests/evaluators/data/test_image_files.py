from pathlib import Path

import pytest

from evaluators.data.image_files import find_images, find_shared, find_unreadable
from spaces.errors import BadInput
from tests.evaluators.tiny import write_image


def test_images_come_from_folders_and_lists_each_once(tmp_path: Path) -> None:
    images = [write_image(tmp_path / "images" / name, seed=0) for name in ("a.png", "b.JPG", "sub/c.bmp")]
    (tmp_path / "images" / "notes.md").touch()
    (tmp_path / "list.txt").write_text(f"./images/b.JPG\n\n{images[0]}\n", encoding="utf-8")
    found = find_images([tmp_path / "images", tmp_path / "list.txt"], where="data.yaml: train")
    assert found == tuple(images)
    assert find_images([tmp_path / "list.txt"], where="") == (images[1], images[0])


def test_source_that_is_neither_folder_nor_list_is_refused(tmp_path: Path) -> None:
    image = write_image(tmp_path / "a.png", seed=0)
    for source in (tmp_path / "nowhere", image):
        with pytest.raises(BadInput, match=r"^data.yaml: val must be .*, got '.*'$"):
            find_images([source], where="data.yaml: val")


def test_folder_without_images_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"data.yaml: train has no images \(.bmp .jpeg"):
        find_images([tmp_path], where="data.yaml: train")


def test_list_that_names_a_missing_image_is_refused_by_line(tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_text("\nmissing.jpg\n", encoding="utf-8")
    with pytest.raises(BadInput, match=r"list.txt:2: must be an image file .* got 'missing.jpg'"):
        find_images([tmp_path / "list.txt"], where="")


def test_empty_foreign_and_cut_files_are_unreadable(tmp_path: Path) -> None:
    good = write_image(tmp_path / "good.jpg", seed=0)
    content = good.read_bytes()
    bad = {"empty.jpg": b"", "text.jpg": b"not an image", "cut.jpg": content[: len(content) // 2]}
    for name, data in bad.items():
        (tmp_path / name).write_bytes(data)
    assert find_unreadable([good, *(tmp_path / name for name in bad)]) == tuple(tmp_path / name for name in bad)


def test_of_very_many_files_the_signatures_are_checked(tmp_path: Path) -> None:
    good = write_image(tmp_path / "good.jpg", seed=0)
    empty = tmp_path / "empty.jpg"
    empty.touch()
    assert find_unreadable([*[good] * 2000, empty]) == (empty,)


def test_copies_under_other_names_are_shared(tmp_path: Path) -> None:
    train = [write_image(tmp_path / "train" / f"{seed}.bmp", seed=seed) for seed in range(3)]
    val = [write_image(tmp_path / "val" / f"v{seed}.bmp", seed=seed) for seed in (5, 2)]  # a bmp's size tells nothing
    assert find_shared(train, val) == ((val[1], train[2]),)
    assert find_shared(train, train[:1]) == ((train[0], train[0]),)
    assert find_shared(train, val[:1]) == ()
