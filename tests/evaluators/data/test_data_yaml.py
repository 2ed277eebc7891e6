from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evaluators.data.data_yaml import find_data_yaml, read_data_yaml
from spaces.errors import BadInput

SPLITS = "train: a\nval: b\n"


def write(folder: Path, text: str) -> Path:
    for name in ("a", "b"):
        (folder / name).mkdir(exist_ok=True)
    path = folder / "data.yaml"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        ("names: [cat, dog]", ("cat", "dog")),
        ("names: {1: dog, 0: cat}", ("cat", "dog")),
        ("nc: 2\nnames: {'0': cat, '1': dog}", ("cat", "dog")),
        ("nc: 2", ("class_0", "class_1")),
        ("names: [0, 1]", ("0", "1")),
        ("names: [yes, no, maybe]", ("True", "False", "maybe")),  # as yaml reads them, and the weights call them
        ("names: [0.5, 1.0, ~]", ("0.5", "1.0", "None")),
        ("nc: '2'\nnames: [cat, dog]", ("cat", "dog")),
        ("nc: 2.0", ("class_0", "class_1")),
    ],
)
def test_names_may_be_a_list_or_a_mapping_or_left_out(tmp_path: Path, names: str, expected: tuple[str, ...]) -> None:
    assert read_data_yaml(write(tmp_path, SPLITS + names)).names == expected


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("train: [a\nval: b", ("data.yaml:2:4",)),
        ("train: a\n\tval: b", ("data.yaml:2:1",)),
        ("- train", ("mapping", "['train']")),
        ("", ("mapping", "None")),
        (SPLITS + "nc: !!python/object/apply:os.system ['true']", ("data.yaml:3:5", "python")),
        (SPLITS + "names: &a [x]\nother: *a", ("data.yaml:4:8", "aliases")),
        (SPLITS + "names: " + "[" * 50_000, ("data.yaml:3:27", "nesting")),
        (SPLITS + "names: [2026-13-45]", ("month",)),
        ("#" * 1_000_001, ("1000000", "1000001")),
        ("val: b\nnc: 1", ("train", "missing", ".txt")),
        ("train: a\nval: 3\nnc: 1", ("val", "got 3")),
        ("train: []\nval: b\nnc: 1", ("train", "got []")),
        (SPLITS, ("names",)),
        (SPLITS + "nc: 0", ("nc", "from 1", "got 0")),
        (SPLITS + "nc: '3.5'\nnames: [a, b]", ("nc", "integer", "'3.5'")),
        (SPLITS + "nc: true", ("nc", "True")),
        (SPLITS + "nc: two", ("nc", "'two'")),
        (SPLITS + "nc: .inf", ("nc", "inf")),
        (SPLITS + "nc: 3\nnames: [a, b]", ("nc 3", "2 names")),
        (SPLITS + "names: {0: a, 2: b}", ("0 to 1", "1 is missing")),
        (SPLITS + "names: [a, b, a]", ("classes 0 and 2", "'a'")),
        (SPLITS + "names: [[a], b]", ("text", "['a']")),
        (SPLITS + "names: []", ("1 to", "got 0")),
        (SPLITS + "names: cat", ("list", "'cat'")),
        (SPLITS + "nc: 1\npath: 3", ("path", "got 3")),
        ("train: gone\nval: b\nnc: 1\ndownload: |\n  import os", ("train", "gone", "download is never run")),
        (SPLITS + "nc: 1\nkpt_shape: 17", ("kpt_shape", "got 17")),
        (SPLITS + "nc: 1\nkpt_shape: [17, 4]", ("kpt_shape", "[17, 4]")),
    ],
)
def test_bad_yaml_is_one_line_that_names_file_key_and_value(tmp_path: Path, text: str, parts: tuple[str, ...]) -> None:
    with pytest.raises(BadInput) as caught:
        read_data_yaml(write(tmp_path, text))
    message = str(caught.value)
    assert message.startswith(str(tmp_path / "data.yaml"))
    assert "\n" not in message
    assert [part for part in parts if part not in message] == []


def test_keypoints_and_the_older_name_of_val_are_read(tmp_path: Path) -> None:
    found = read_data_yaml(write(tmp_path, "train: a\nvalidation: b\nnc: 1\nkpt_shape: [17, 3]\n"))
    assert (found.val, found.n_keypoint_columns) == ((tmp_path / "b",), 51)
    assert found.warnings == (f"{tmp_path / 'data.yaml'}: validation is read as val",)


def test_download_is_ignored_where_the_images_are(tmp_path: Path) -> None:
    marker = tmp_path / "ran"
    read_data_yaml(write(tmp_path, SPLITS + f"nc: 1\ndownload: |\n  open({str(marker)!r}, 'w')\n"))
    assert not marker.exists()


def test_a_folder_stands_for_the_yaml_in_it_or_else_for_its_images(tmp_path: Path) -> None:
    assert find_data_yaml(tmp_path) is None
    assert find_data_yaml(tmp_path / "list.txt") is None
    assert find_data_yaml(tmp_path / "gone.yaml") == tmp_path / "gone.yaml"
    (tmp_path / "cells.yaml").touch()
    assert find_data_yaml(tmp_path) == tmp_path / "cells.yaml"
    (tmp_path / "more.yml").touch()
    with pytest.raises(BadInput, match=r"has 2 data yamls, cells.yaml and others; name one"):
        find_data_yaml(tmp_path)
    (tmp_path / "data.yaml").touch()
    assert find_data_yaml(tmp_path) == tmp_path / "data.yaml"


def test_missing_yaml_names_the_closest_files_there(tmp_path: Path) -> None:
    write(tmp_path, SPLITS)
    with pytest.raises(BadInput, match=r"dota\.yaml: no such data yaml; .* has data\.yaml"):
        read_data_yaml(tmp_path / "dota.yaml")
    with pytest.raises(BadInput, match="no folder"):
        read_data_yaml(tmp_path / "nowhere" / "data.yaml")


def test_single_bytes_that_are_no_text_are_left_out_as_ultralytics_does(tmp_path: Path) -> None:
    path = write(tmp_path, "")
    path.write_bytes(f"{SPLITS}names: [K\xfche, Hund]\n".encode("latin-1"))
    found = read_data_yaml(path)
    assert found.names == ("Khe", "Hund")
    assert found.warnings == (f"{path}: byte 25 is not UTF-8, and is left out with others of its kind",)


def test_yaml_in_utf_16_and_archives_are_refused(tmp_path: Path) -> None:
    path = write(tmp_path, "")
    path.write_bytes(f"{SPLITS}nc: 1\n".encode("utf-16"))
    with pytest.raises(BadInput, match="UTF-16"):
        read_data_yaml(path)
    (tmp_path / "set.zip").touch()
    with pytest.raises(BadInput, match="is an archive; unpack it"):
        find_data_yaml(tmp_path / "set.zip")


@given(st.text(max_size=40) | st.text("train: vl[]{}&*!,-'\"0nc#\n", max_size=60))
def test_any_text_is_read_or_refused(text: str) -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "data.yaml"
        path.write_text(text, encoding="utf-8")
        with pytest.raises(BadInput):  # no text drawn from so few characters names both splits and the classes
            read_data_yaml(path)
