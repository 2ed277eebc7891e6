from pathlib import Path

import pytest

from leaderboards.runs.rivals import load_rivals, notes_on
from spaces.candidate import Candidate
from spaces.detectors.detector import save_detector
from spaces.errors import BadInput
from tests.spaces.untrained import detector


@pytest.fixture(scope="module")
def cats(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a detector of cats and dogs."""
    folder = tmp_path_factory.mktemp("rivals") / "YOLO-v8 n"
    model = detector("yolov8n", n_classes=2)
    names, model.names = model.names, {0: "cat", 1: "dog"}
    save_detector(model, folder, candidate=Candidate("same", ()))
    model.names = names
    return folder


def test_a_rival_is_named_after_its_file_and_answers_in_the_classes_of_the_data(cats: Path) -> None:
    rivals = load_rivals([str(cats)], ("dog", "cow"), imgsz=64)
    assert list(rivals) == ["yolo_v8_n"]
    assert rivals["yolo_v8_n"].network.names == {0: "dog", 1: "cow"}
    assert notes_on(rivals) == ["yolo_v8_n knows 1 of the 2 classes, not cow."]


def test_what_cannot_be_compared_is_refused_by_name(cats: Path, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"^rivals: '.*YOLO-v8 n': it knows none of the classes"):
        load_rivals([str(cats)], ("cow",), imgsz=64)
    with pytest.raises(BadInput, match="two files are called 'yolo_v8_n'"):
        load_rivals([str(cats), str(cats)], ("cat",), imgsz=64)
    with pytest.raises(BadInput, match=r"^rivals: '.*gone.pt'.*not found"):
        load_rivals([str(tmp_path / "gone.pt")], ("cat",), imgsz=64)
