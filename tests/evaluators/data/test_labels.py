from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evaluators.data.labels import label_path, read_labels
from spaces.errors import BadInput
from tests.evaluators.tiny import BOX


def write(folder: Path, text: str) -> Path:
    (folder / "labels").mkdir(exist_ok=True)
    (folder / "labels" / "a.txt").write_text(text, encoding="utf-8")
    return folder / "images" / "a.jpg"


def test_only_the_last_folder_called_images_is_replaced() -> None:
    assert label_path(Path("/images/set/images/val/a.b.jpg")) == Path("/images/set/labels/val/a.b.txt")
    assert label_path(Path("/set/pictures/a.jpg")) == Path("/set/pictures/a.txt")


def test_missing_and_empty_files_mean_no_boxes(tmp_path: Path) -> None:
    empty, missing = read_labels([write(tmp_path, "\n \n"), tmp_path / "images" / "b.jpg"], n_classes=1)
    assert empty.shape == missing.shape == (0, 5)
    assert empty.dtype == missing.dtype == np.float32


def test_repeated_line_counts_once_and_a_byte_order_mark_is_skipped(tmp_path: Path) -> None:
    (labels,) = read_labels([write(tmp_path, "\ufeff" + BOX + BOX + "1 0 0 1 1\n")], n_classes=2)
    assert labels.tolist() == [[0, 0.5, 0.5, 0.25, 0.5], [1, 0, 0, 1, 1]]


@pytest.mark.parametrize(
    ("row", "part"),
    [
        ("2 0.5 0.5 0.1 0.1", "class must be an integer from 0 to 1, got 2"),
        ("-1 0.5 0.5 0.1 0.1", "got -1"),
        ("0.5 0.5 0.5 0.1 0.1", "got 0.5"),
        ("inf 0.5 0.5 0.1 0.1", "got inf"),
        ("0 0.5 1.01 0.1 0.1", r"in \[0, 1\]"),
        ("0 0.5 -0.1 0.1 0.1", r"in \[0, 1\]"),
        ("0 0.5 nan 0.1 0.1", r"in \[0, 1\]"),
        ("0 0.5 0.5 0 0.1", "above 0"),
        ("0 0.5 0.5 0.1", "5 columns .* got 4$|5 columns .* got 4 "),
        ("0 0.1 0.1 0.2 0.1 0.2 0.2", "got 7; segments"),
        ("cat 0.5 0.5 0.1 0.1", "numbers"),
    ],
)
def test_line_that_is_no_box_is_named_by_file_and_line(tmp_path: Path, row: str, part: str) -> None:
    with pytest.raises(BadInput, match=part) as caught:
        read_labels([write(tmp_path, f"{BOX}\n{row}\n{row}\n")], n_classes=2)
    assert str(caught.value).startswith(f"{tmp_path}/labels/a.txt:3: ")
    assert str(caught.value).endswith("(2 bad label lines in all)")


def test_labels_that_are_no_text_are_refused(tmp_path: Path) -> None:
    image = write(tmp_path, "")
    (tmp_path / "labels" / "a.txt").write_bytes(b"0 \xff")
    with pytest.raises(BadInput, match="UTF-8, byte 2"):
        read_labels([image], n_classes=1)


SIDES = st.floats(0, 1, width=32, allow_subnormal=False)
BOXES = st.tuples(st.integers(0, 9), SIDES, SIDES, SIDES.filter(bool), SIDES.filter(bool))


@given(st.lists(BOXES, unique=True, max_size=5))
def test_boxes_that_were_written_are_read_back(boxes: list[tuple[float, ...]]) -> None:
    text = "".join(" ".join(map(str, box)) + "\n" for box in boxes)
    with TemporaryDirectory() as folder:
        (labels,) = read_labels([write(Path(folder), text)], n_classes=10)
    np.testing.assert_array_equal(labels, np.array(boxes, np.float32).reshape(-1, 5))
