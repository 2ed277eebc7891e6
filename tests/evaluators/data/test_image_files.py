from pathlib import Path

import pytest

from evaluators.data.image_files import Found, find_images, find_shared
from spaces.errors import BadInput
from tests.evaluators.tiny import write_image


def test_images_come_from_folders_and_lists_each_once(tmp_path: Path) -> None:
    images = [write_image(tmp_path / "images" / name, seed=0) for name in ("a.png", "b.JPG", "sub/c.bmp")]
    (tmp_path / "images" / "notes.md").touch()
    (tmp_path / "list.txt").write_text(f"./images/b.JPG\n\n{images[0]}\n", encoding="utf-8")
    found = find_images([tmp_path / "images", tmp_path / "list.txt"], where="data.yaml: train")
    assert found == Found(tuple(images), (), (images[1], images[0]), ())
    assert find_images([tmp_path / "list.txt"], where="").images == (images[1], images[0])


def test_source_that_is_neither_folder_nor_list_is_refused(tmp_path: Path) -> None:
    image = write_image(tmp_path / "a.png", seed=0)
    for source in (tmp_path / "nowhere", image):
        with pytest.raises(BadInput, match=r"^data.yaml: val must be .*, got '.*'$"):
            find_images([source], where="data.yaml: val")


def test_folder_without_images_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"data.yaml: train has no images \(.avif .bmp .dng"):
        find_images([tmp_path], where="data.yaml: train")


def test_what_a_list_names_but_is_not_there_is_told_by_line(tmp_path: Path) -> None:
    image = write_image(tmp_path / "sub" / "a.png", seed=0)
    lines = "\nmissing.jpg\nsub\\a.png\n" + "x" * 300 + ".jpg\nnotes.md\n\0.jpg\n"
    (tmp_path / "list.txt").write_text(lines, encoding="utf-8")
    found = find_images([tmp_path / "list.txt"], where="")
    assert found.images == (image,)
    assert [told.split(": ")[0].rpartition(":")[2] for told in found.missing] == ["2", "4"]
    assert found.missing[0].endswith("list.txt:2: 'missing.jpg'")
    assert [path.name for path in found.others] == ["notes.md", ".jpg"]


def test_a_list_of_which_nothing_is_there_names_its_first_line(tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_text("C:\\a\\1.jpg\n/content/2.jpg\n", encoding="utf-8")
    with pytest.raises(BadInput, match=r"val: none of 2 listed images is there, first .*list.txt:1: 'C:.*1.jpg'$"):
        find_images([tmp_path / "list.txt"], where="data.yaml: val")


def test_lists_may_have_any_name_and_be_in_utf_16(tmp_path: Path) -> None:
    image = write_image(tmp_path / "a.png", seed=0)
    for name in ("train.TXT", "train.lst", "train"):
        (tmp_path / name).write_text(f"a.png\n../{tmp_path.name}/a.png\n", encoding="utf-16")
        found = find_images([tmp_path / name], where="")
        assert (found.images, len(found.doubled)) == ((image,), 1)  # one file in two spellings


def test_a_list_of_no_images_names_its_first_line(tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_text('"a.png"\n# more\n', encoding="utf-8")
    with pytest.raises(
        BadInput, match=r'train: none of 2 files or lines names an image by its suffix, first .*"a.png"'
    ):
        find_images([tmp_path / "list.txt"], where="data.yaml: train")


def test_lists_are_relative_to_their_own_folder_or_else_to_the_current_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = write_image(tmp_path / "here" / "images" / "a.png", seed=0)
    (tmp_path / "list.txt").write_text("images/a.png\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path / "here")
    assert find_images([tmp_path / "list.txt"], where="").images == (image,)
    nearer = write_image(tmp_path / "images" / "a.png", seed=0)
    assert find_images([tmp_path / "list.txt"], where="").images == (nearer,)


def test_names_that_begin_with_a_dot_are_no_part_of_a_set(tmp_path: Path) -> None:
    folder = tmp_path / ".hidden" / "images"  # but the set itself may lie in a hidden folder
    image = write_image(folder / "a.png", seed=0)
    for name in ("._a.png", "__MACOSX/a.png", ".ipynb_checkpoints/a-checkpoint.png", "sub/.b/c.png"):
        write_image(folder / name, seed=0)
    (folder / "sub" / ".b.png").touch()
    assert find_images([folder], where="").images == (image,)


def test_links_are_followed_once(tmp_path: Path) -> None:
    image = write_image(tmp_path / "images" / "a.png", seed=0)
    far = write_image(tmp_path / "elsewhere" / "b.png", seed=1)
    for name in ("z", "y"):  # twice the same folder
        (tmp_path / "images" / name).symlink_to(far.parent)
    (tmp_path / "images" / "round").symlink_to(tmp_path / "images")
    (tmp_path / "images" / "c.png").symlink_to(far)
    (tmp_path / "images" / "gone.png").symlink_to(tmp_path / "nowhere.png")
    found = find_images([tmp_path / "images"], where="")
    assert found.images == (image, tmp_path / "images" / "c.png")
    assert found.doubled == (tmp_path / "images" / "y" / "b.png",)  # which is c.png
    assert found.missing == (str(tmp_path / "images" / "gone.png"),)


def test_labelled_files_of_other_suffixes_are_told(tmp_path: Path) -> None:
    image = write_image(tmp_path / "images" / "a.png", seed=0)
    for name in ("b.gif", "notes.md", "a.json", "c.txt"):
        (tmp_path / "images" / name).touch()
    (tmp_path / "labels").mkdir()
    for name in ("a", "b", "c"):
        (tmp_path / "labels" / f"{name}.txt").touch()
    found = find_images([tmp_path / "images"], where="")
    assert found.images == (image,)
    assert found.others == (tmp_path / "images" / "b.gif",)


def test_copies_under_other_names_are_shared(tmp_path: Path) -> None:
    train = [write_image(tmp_path / "train" / f"{seed}.bmp", seed=seed) for seed in range(3)]
    val = [write_image(tmp_path / "val" / f"v{seed}.bmp", seed=seed) for seed in (5, 2)]  # a bmp's size tells nothing
    assert find_shared(train, val) == ((train[2], val[1]),)
    assert find_shared(train, train[:1]) == ((train[0], train[0]),)
    assert find_shared(train, val[:1]) == ()
