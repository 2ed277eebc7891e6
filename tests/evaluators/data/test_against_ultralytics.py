"""Data sets of many layouts, names, formats and faults: the images and boxes that Ultralytics reads, or a difference
that is stated here.

What differs on purpose: Ultralytics drops an image for one bad line, and one whose lines mix boxes and polygons, and
keeps boxes without an area or partly outside; it trains on pictures of val.
"""

import shutil
from collections.abc import Mapping, Sequence
from enum import Enum
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image
from ultralytics.data.dataset import YOLODataset
from ultralytics.data.utils import check_det_dataset

from evaluators.data.dataset import Sample, load_dataset

N_TRAIN, N_VAL = 11, 2  # so that one fault is less than a tenth
FORMATS = {"jpg": "JPEG", "JPEG": "JPEG", "png": "PNG", "bmp": "BMP", "webp": "WEBP", "tif": "TIFF", "tiff": "TIFF"}
FORMATS |= {"jp2": "JPEG2000", "avif": "AVIF", "mpo": "MPO"}


class Layout(Enum):
    """Where the images and the yaml of a set are; the labels follow the images."""

    IMAGES_FIRST = "images/{}"
    SPLIT_FIRST = "{}/images"
    UPWARDS = "../{}/images"  # of Roboflow, that leads nowhere
    LISTED = "{}.txt"
    MANY_FOLDERS = "[images/{}/a, images/{}/b]"
    BESIDE = "pictures/{}"  # no folder is called images: labels stand beside


class Fault(Enum):
    """What is wrong with the first image of train."""

    NOTHING = "nothing"
    UNREADABLE = "unreadable image"
    MISSING_LABELS = "no label file"
    EMPTY_LABELS = "an empty label file"
    BAD_CLASS = "9 0.5 0.5 0.1 0.1"
    BAD_NUMBER = "0 0.5 cat 0.1 0.1"
    BAD_COLUMNS = "0 0.5 0.5 0.1"
    FAR_OUT = "0 0.5 1.5 0.1 0.1"
    NO_AREA = "0 0.5 0.5 0 0.1"
    OUT_BY_LITTLE = "0 1.005 0.5 0.25 0.1"
    MIXED = "0 0.125 0.25 0.5 0.25 0.5 0.75"
    IN_VAL = "the picture is in val too"


class Drawn(NamedTuple):
    """One set: `rows` are the label lines of each image as numbers."""

    layout: Layout
    fault: Fault
    names: str
    root: str
    formats: Sequence[str]
    rows: Sequence[Sequence[tuple[float, ...]]]
    has_hidden: bool


FRACTIONS = st.integers(1, 63).map(lambda number: number / 64)
BOX = st.tuples(st.integers(0, 2), FRACTIONS, FRACTIONS, FRACTIONS, FRACTIONS)
CORNERS = st.lists(FRACTIONS, min_size=8, max_size=8).filter(lambda v: len(set(v[::2])) > 1 and len(set(v[1::2])) > 1)
POLYGON = st.tuples(st.integers(0, 2), CORNERS).map(lambda drawn: (drawn[0], *drawn[1]))
ROWS = st.lists(BOX, min_size=1, max_size=3) | st.lists(POLYGON, min_size=1, max_size=2)
SETS = st.builds(
    Drawn,
    st.sampled_from(Layout),
    st.sampled_from(Fault),
    st.sampled_from(["names: [a, yes, 1.5]", "nc: '3'", "nc: 3.0\nnames: {0: a, '1': b, 2: ~}"]),
    st.sampled_from(["", "path: {}"]),
    st.lists(st.sampled_from(sorted(FORMATS)), min_size=N_TRAIN + N_VAL, max_size=N_TRAIN + N_VAL),
    st.lists(ROWS, min_size=N_TRAIN + N_VAL, max_size=N_TRAIN + N_VAL),
    st.booleans(),
)


def write(drawn: Drawn, folder: Path) -> tuple[Path, Path]:
    """Return the yaml of the set that now is in `folder`, and the first image of train."""
    images: dict[str, list[Path]] = {"train": [], "val": []}
    for index, (suffix, rows) in enumerate(zip(drawn.formats, drawn.rows, strict=True)):
        split = "train" if index < N_TRAIN else "val"
        image = folder / _home(drawn.layout, split, index) / f"i{index}.{suffix}"
        label = Path(str(image).replace("/images/", "/labels/")).with_suffix(".txt")
        image.parent.mkdir(parents=True, exist_ok=True)
        label.parent.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(index).integers(0, 255, (24, 32, 3), np.uint8)
        Image.fromarray(pixels).save(image, format=FORMATS[suffix])
        label.write_text("".join(" ".join(map(repr, row)) + "\n" for row in rows), encoding="utf-8")
        images[split].append(image)
    spoil(drawn.fault, images["train"][0], images["val"][0].parent)
    if drawn.has_hidden:
        for name in ("._i1.jpg", ".ipynb_checkpoints/i1.jpg"):
            (images["train"][0].parent / name).parent.mkdir(exist_ok=True)
            (images["train"][0].parent / name).write_bytes(b"no image")
    for split in images if drawn.layout is Layout.LISTED else ():
        named = [f"./{image.relative_to(folder)}\n" for image in sorted(images[split][0].parent.iterdir())]
        listed = [line for line in named if "/." not in line[1:] and not line.endswith(".txt\n")]
        (folder / f"{split}.txt").write_text("".join(listed), encoding="utf-8")
    sources = "".join(f"{split}: {drawn.layout.value.format(split, split)}\n" for split in images)
    (folder / "data.yaml").write_text(f"{drawn.root.format(folder)}\n{sources}{drawn.names}\n", encoding="utf-8")
    return folder / "data.yaml", images["train"][0]


def _home(layout: Layout, split: str, index: int) -> str:
    if layout is Layout.MANY_FOLDERS:
        return f"images/{split}/{'ab'[index % 2]}"
    home = Layout.IMAGES_FIRST if layout is Layout.LISTED else layout
    return str(home.value).format(split).removeprefix("../")


def spoil(fault: Fault, image: Path, val: Path) -> None:
    label = Path(str(image).replace("/images/", "/labels/")).with_suffix(".txt")
    text = label.read_text(encoding="utf-8")
    if fault is Fault.UNREADABLE:
        image.write_bytes(b"")
    elif fault is Fault.MISSING_LABELS:
        label.unlink()
    elif fault is Fault.EMPTY_LABELS:
        label.write_text("\n", encoding="utf-8")
    elif fault is Fault.IN_VAL:
        shutil.copy(image, val / f"copy{image.suffix}")
    elif fault is not Fault.NOTHING:
        label.write_text(f"{text}{fault.value}\n", encoding="utf-8")


def theirs(yaml: Path) -> dict[str, dict[str, NDArray[np.float32]]]:
    data = check_det_dataset(str(yaml), autodownload=False)
    found = {}
    for split in ("train", "val"):
        labels = YOLODataset(img_path=data[split], data=data, imgsz=32, augment=False).labels
        found[split] = {
            Path(one["im_file"]).resolve().name: np.hstack([one["cls"], one["bboxes"]]).astype(np.float32)
            for one in labels
        }
    return found


def ours(yaml: Path) -> dict[str, dict[str, NDArray[np.float32]]]:
    dataset = load_dataset(yaml)
    splits: Mapping[str, Sequence[Sample]] = {"train": dataset.train, "val": dataset.val}
    return {split: {sample.image.name: sample.labels for sample in samples} for split, samples in splits.items()}


def in_order(boxes: NDArray[np.float32]) -> NDArray[np.float32]:
    return boxes[np.lexsort(boxes.T[::-1])] if len(boxes) else boxes


@settings(max_examples=200, deadline=None, derandomize=True)
@given(SETS)
def test_images_and_boxes_are_those_that_ultralytics_reads(drawn: Drawn) -> None:
    with TemporaryDirectory() as folder:
        yaml, first = write(drawn, Path(folder))
        mine, other = ours(yaml), theirs(yaml)
        kept = load_dataset(yaml).names
    assert kept == tuple(check_names(drawn.names))
    odd, expected = drawn.fault, other["train"]
    rows = np.array([box_of(row) for row in dict.fromkeys(map(tuple, drawn.rows[0]))], np.float32)
    if odd is Fault.IN_VAL:
        del expected[first.name]
    elif odd is Fault.NO_AREA:
        assert first.name in expected or len(drawn.rows[0][0]) > 5  # mixed with polygons it is dropped there
        expected[first.name] = rows
    elif odd is Fault.OUT_BY_LITTLE:
        expected[first.name] = np.vstack([rows, np.array([[0, 1, 0.5, 0.25, 0.1]], np.float32)])
    elif odd is Fault.MIXED:
        mixed = np.array([[0, 0.3125, 0.5, 0.375, 0.5]], np.float32)
        expected[first.name] = np.vstack([rows, mixed])
    elif odd in (Fault.BAD_CLASS, Fault.BAD_NUMBER, Fault.BAD_COLUMNS, Fault.FAR_OUT):
        assert first.name not in expected
        expected[first.name] = rows
    for split in ("train", "val"):
        assert mine[split].keys() == other[split].keys()
        for name, boxes in mine[split].items():
            np.testing.assert_allclose(in_order(boxes), in_order(other[split][name]), atol=1e-6)


def check_names(written: str) -> list[str]:
    return {"nc: '": ["class_0", "class_1", "class_2"], "names": ["a", "True", "1.5"], "nc: 3": ["a", "b", "None"]}[
        written[:5]
    ]


def box_of(row: Sequence[float]) -> tuple[float, ...]:
    kind, *values = row
    if len(row) == 5:
        return tuple(row)
    xs, ys = values[::2], values[1::2]
    return kind, (min(xs) + max(xs)) / 2, (min(ys) + max(ys)) / 2, max(xs) - min(xs), max(ys) - min(ys)
