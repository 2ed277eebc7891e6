from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evaluators.data.labels import LineKinds, Read, label_path, read_labels
from tests.evaluators.tiny import BOX


def write(folder: Path, text: str) -> Path:
    (folder / "labels").mkdir(exist_ok=True)
    (folder / "labels" / "a.txt").write_text(text, encoding="utf-8")
    return folder / "images" / "a.jpg"


def one(folder: Path, text: str) -> Read:
    return read_labels([write(folder, text)], LineKinds(2))


def boxes_of(read: Read) -> list[list[float]]:
    (labels,) = read.labels
    assert labels is not None
    rows: list[list[float]] = labels.tolist()
    return rows


def test_only_the_last_folder_called_images_is_replaced() -> None:
    assert label_path(Path("/images/set/images/val/a.b.jpg")) == Path("/images/set/labels/val/a.b.txt")
    assert label_path(Path("/set/pictures/a.jpg")) == Path("/set/pictures/a.txt")


def test_missing_and_empty_files_mean_no_boxes(tmp_path: Path) -> None:
    read = read_labels([write(tmp_path, "\n \n"), tmp_path / "images" / "b.jpg"], LineKinds(1))
    empty, missing = read.labels
    assert empty is not None
    assert missing is not None
    assert empty.shape == missing.shape == (0, 5)
    assert empty.dtype == missing.dtype == np.float32


def test_files_that_are_not_there_are_told_and_links_that_lead_nowhere_are_faults(tmp_path: Path) -> None:
    image = write(tmp_path, BOX)
    (tmp_path / "labels" / "b.txt").symlink_to(tmp_path / "gone.txt")
    read = read_labels([image, tmp_path / "images" / "b.jpg", tmp_path / "images" / "c.jpg"], LineKinds(1))
    assert read.absent == (f"{tmp_path}/labels/c.txt",)
    assert [told.split(": ")[0] for told in read.unread] == [f"{tmp_path}/labels/b.txt"]
    assert [boxes is None for boxes in read.labels] == [False, True, False]


def test_repeated_line_counts_once_and_a_byte_order_mark_is_skipped(tmp_path: Path) -> None:
    read = one(tmp_path, "\ufeff" + BOX + BOX + "1 0 0 1 1\n")
    assert boxes_of(read) == [[0, 0.5, 0.5, 0.25, 0.5], [1, 0, 0, 1, 1]]


@pytest.mark.parametrize(
    ("row", "part"),
    [
        ("2 0.5 0.5 0.1 0.1", "class must be an integer from 0 to 1, got 2"),
        ("-1 0.5 0.5 0.1 0.1", "got -1"),
        ("0.5 0.5 0.5 0.1 0.1", "got 0.5"),
        ("inf 0.5 0.5 0.1 0.1", "finite"),
        ("0 0.5 1.02 0.1 0.1", "in [0, 1], got 0.5 1.02"),
        ("0 0.5 -0.1 0.1 0.1", "in [0, 1]"),
        ("0 0.5 0.5 0.1 -0.005", "in [0, 1]"),
        ("0 0.5 nan 0.1 0.1", "finite"),
        ("0 0.1 nan 0.2 0.1 0.2 0.2", "finite"),
        ("0 0.5 0.5 0 0.1", "above 0"),
        ("0 0.5 0.5 0.1", "5 columns (class, x, y, width, height), or a class and the corners of a polygon, got 4"),
        ("0 0.5 0.5 0.1 0.1 0.9", "got 6; is the last one the confidence"),
        ("0 0.1 0.1 0.2 0.1 0.2 0.2 0.3", "got 8"),
        ("0 0.1 0.1 0.2 0.1 0.3 0.1", "above 0"),
        ("0 1.1 0.1 1.2 0.1 1.2 0.2", "in [0, 1]"),
        ("cat 0.5 0.5 0.1 0.1", "numbers"),
    ],
)
def test_line_that_is_no_box_is_left_out_and_named_by_file_and_line(tmp_path: Path, row: str, part: str) -> None:
    read = one(tmp_path, f"{BOX}\n{row}\n{row}\n1 0.5 0.5 1 1\n")
    assert boxes_of(read) == [[0, 0.5, 0.5, 0.25, 0.5], [1, 0.5, 0.5, 1, 1]]
    assert read.n_lines == 4
    (fault,) = read.faults
    assert fault.startswith(f"{tmp_path}/labels/a.txt:3: ")
    assert part in fault


def test_labels_that_are_no_text_are_told(tmp_path: Path) -> None:
    image = write(tmp_path, "")
    (tmp_path / "labels" / "a.txt").write_bytes(b"0 \xff")
    read = read_labels([image], LineKinds(1))
    assert read.labels == (None,)
    assert read.unread == (f"{tmp_path}/labels/a.txt: not text in UTF-8",)


def test_polygons_and_mixed_lines_become_the_boxes_around_them(tmp_path: Path) -> None:
    triangle, slanted = "1 0.1 0.2 0.5 0.2 0.3 0.6\n", "0 0.2 0.3 0.4 0.1 0.6 0.3 0.4 0.5\n"
    read = one(tmp_path, triangle + BOX + slanted)
    np.testing.assert_allclose(
        boxes_of(read), [[1, 0.3, 0.4, 0.4, 0.4], [0, 0.5, 0.5, 0.25, 0.5], [0, 0.4, 0.3, 0.4, 0.4]], rtol=1e-6
    )
    assert [place.rpartition(":")[2] for place in read.polygons] == ["1", "3"]


def test_polygons_that_differ_stay_two_boxes_even_where_the_boxes_are_equal(tmp_path: Path) -> None:
    read = one(tmp_path, "1 0 0 1 0 1 1\n1 0 0 0 1 1 1\n1 0 0 1 0 1 1\n")
    assert boxes_of(read) == [[1, 0.5, 0.5, 1, 1]] * 2


def test_coordinates_that_are_out_by_a_percent_are_clipped(tmp_path: Path) -> None:
    read = one(tmp_path, "0 1.0021 0.5 0.2 0.2\n0 0.5 -0.009 0.2 0.2\n1 0.5 0 1.005 0 1.005 1.005\n")
    np.testing.assert_allclose(
        boxes_of(read), [[0, 1, 0.5, 0.2, 0.2], [0, 0.5, 0, 0.2, 0.2], [1, 0.75, 0.5, 0.5, 1]], rtol=1e-6
    )
    assert [place.rpartition(":")[2] for place in read.clipped] == ["1", "2", "3"]
    assert read.faults == ()


def test_keypoints_after_a_box_are_left_out(tmp_path: Path) -> None:
    for n_columns in (4, 6):  # an even number could be a polygon
        image = write(tmp_path, BOX.strip() + " 0.9" * n_columns + "\n")
        assert boxes_of(read_labels([image], LineKinds(1, n_columns))) == [[0, 0.5, 0.5, 0.25, 0.5]]


SIDES = st.floats(0, 1, width=32, allow_subnormal=False)
BOXES = st.tuples(st.integers(0, 9), SIDES, SIDES, SIDES.filter(bool), SIDES.filter(bool))


@given(st.lists(BOXES, unique=True, max_size=5))
def test_boxes_that_were_written_are_read_back(boxes: list[tuple[float, ...]]) -> None:
    text = "".join(" ".join(map(str, box)) + "\n" for box in boxes)
    with TemporaryDirectory() as folder:
        read = read_labels([write(Path(folder), text)], LineKinds(10))
    np.testing.assert_array_equal(read.labels[0], np.array(boxes, np.float32).reshape(-1, 5))
