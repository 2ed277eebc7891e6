from pathlib import Path

import pytest

from evaluators.data.data_yaml import DataYaml, read_data_yaml
from spaces.errors import BadInput


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "work" / "repository").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "work" / "repository")
    monkeypatch.setenv("YOLO_CONFIG_DIR", str(tmp_path / "config"))


def make(folder: Path, *names: str) -> Path:
    for name in names or ("train/images", "val/images"):
        (folder / name).mkdir(parents=True)
    return folder


def read(folder: Path, text: str) -> DataYaml:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "data.yaml").write_text(f"nc: 1\n{text}", encoding="utf-8")
    return read_data_yaml(folder / "data.yaml")


PLAIN = "train: train/images\nval: val/images\n"
UPWARDS = "train: ../train/images\nval: ../val/images\n"


@pytest.mark.parametrize(
    "text", [PLAIN, UPWARDS, UPWARDS.replace("../", "../../"), PLAIN.replace("/", "\\"), "path: .\n" + PLAIN]
)
def test_the_folder_of_the_yaml_has_both_splits(tmp_path: Path, text: str) -> None:
    found = read(make(tmp_path / "set"), text)
    assert (found.train, found.val) == ((tmp_path / "set/train/images",), (tmp_path / "set/val/images",))
    assert found.warnings == ()


def test_upwards_is_meant_where_it_leads_somewhere(tmp_path: Path) -> None:
    make(tmp_path / "set")
    make(tmp_path)
    assert [path.resolve() for path in read(tmp_path / "set", UPWARDS).train] == [tmp_path / "train/images"]


def test_lists_and_absolute_paths_may_be_mixed(tmp_path: Path) -> None:
    make(tmp_path, "set/sub/a", "c")
    (tmp_path / "set/sub/b.txt").touch()
    found = read(tmp_path / "set", f"path: sub\ntrain: [a, b.txt]\nval: {tmp_path / 'c'}\n")
    assert found.train == (tmp_path / "set/sub/a", tmp_path / "set/sub/b.txt")
    assert found.val == (tmp_path / "c",)


@pytest.mark.parametrize(
    ("yaml", "place", "path"),
    [
        ("work/repository/data", "work/datasets/cells", "../datasets/cells"),  # of YOLOv5, run in its repository
        ("old/yolov5/data", "old/datasets/cells", "../datasets/cells"),  # run elsewhere
        ("anywhere", "work/repository/cells", "cells"),  # below the current folder
        ("anywhere", "work/repository/datasets/cells", "cells"),  # where Ultralytics keeps its own
        ("anywhere", "work/datasets/cells", "cells"),
        ("anywhere", "kept/cells", "cells"),  # where its settings say so
    ],
)
def test_path_is_looked_for_where_ultralytics_and_yolov5_look(tmp_path: Path, yaml: str, place: str, path: str) -> None:
    (tmp_path / "config" / "Ultralytics").mkdir(parents=True)
    settings = f'{{"datasets_dir": "{tmp_path / "kept"}"}}'
    (tmp_path / "config" / "Ultralytics" / "settings.json").write_text(settings, encoding="utf-8")
    make(tmp_path / place)
    found = read(tmp_path / yaml, f"path: {path}\n" + PLAIN)
    assert [entry.resolve() for entry in found.train] == [tmp_path / place / "train/images"]
    assert all(entry.is_absolute() for entry in (*found.train, *found.val))


def test_settings_that_are_damaged_are_ignored(tmp_path: Path) -> None:
    (tmp_path / "config" / "Ultralytics").mkdir(parents=True)
    for content in ("{", "[]", '{"datasets_dir": 3}'):
        (tmp_path / "config" / "Ultralytics" / "settings.json").write_text(content, encoding="utf-8")
        with pytest.raises(BadInput, match="train must be an existing folder"):
            read(tmp_path / "set", "path: cells\n" + PLAIN)


def test_two_places_that_have_both_splits_are_told(tmp_path: Path) -> None:
    make(tmp_path / "work/repository/cells")
    found = read(make(tmp_path / "set", "cells/train/images", "cells/val/images"), "path: cells\n" + PLAIN)
    assert found.train == (tmp_path / "set/cells/train/images",)
    (told,) = found.warnings
    assert f"in {str(tmp_path / 'set/cells')!r} and in {str(tmp_path / 'work/repository/cells')!r}" in told


@pytest.mark.parametrize("path", ["/content/cells", "E:\\Work\\cells", "C:/cells", "\\\\server\\cells", "gone"])
def test_path_of_another_machine_gives_way_to_the_folder_of_the_yaml(tmp_path: Path, path: str) -> None:
    found = read(make(tmp_path / "set"), f"path: '{path}'\n" + PLAIN)
    assert found.train == (tmp_path / "set/train/images",)
    (told,) = found.warnings
    assert repr(path) in told
    assert ("Windows" in told) == (path not in ("/content/cells", "gone"))


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("path: 'E:\\cells'\n" + PLAIN, ("path is a folder of Windows", "'E:\\\\cells'", "remove the key")),
        ("train: 'E:\\cells\\train'\nval: b\n", ("train is a path of Windows", "relative to the yaml")),
        (
            "path: /content\n" + PLAIN,
            ("train must be an existing folder", "'/content/train/images'", "path is '/content'"),
        ),
        ("train: train/images\nval: [val/images, more]\n", ("val must be", "set/more'")),
        ("train: " + "x" * 400 + "\nval: b\n", ("train must be",)),
    ],
)
def test_what_is_nowhere_is_named_as_it_is(tmp_path: Path, text: str, parts: tuple[str, ...]) -> None:
    if "more" in text:
        make(tmp_path / "set")
    with pytest.raises(BadInput) as caught:
        read(tmp_path / "set", text)
    assert [part for part in parts if part not in str(caught.value)] == []
