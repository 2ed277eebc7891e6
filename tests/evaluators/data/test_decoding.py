from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image
from ultralytics.utils.patches import imread

from evaluators.data.decoding import find_unreadable, read_image
from spaces.errors import BadInput
from tests.evaluators.tiny import write_image


@pytest.mark.parametrize("name", ["a.jp2", "a.avif", "a.mpo", "a.webp", "a.tif", "a.png", "a.bmp", "a.jpeg", "A.TIFF"])
def test_pixels_are_those_that_ultralytics_reads(tmp_path: Path, name: str) -> None:
    picture = Image.open(write_image(tmp_path / "source.png", seed=0))
    path = tmp_path / name
    picture.save(path, format={".mpo": "MPO", ".jp2": "JPEG2000"}.get(path.suffix))
    np.testing.assert_array_equal(read_image(path), imread(str(path)))
    assert find_unreadable([path]) == ()
    assert find_unreadable([*[path] * 2001]) == ()


@pytest.mark.parametrize("suffix", ["jpg", "avif"])
def test_images_are_turned_as_they_say(tmp_path: Path, suffix: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # a quarter turn
    path = tmp_path / f"a.{suffix}"
    Image.open(write_image(tmp_path / "source.png", seed=0, shape=(48, 64))).save(path, exif=exif)
    assert read_image(path).shape == (64, 48, 3)


def test_sixteen_bits_and_transparency_are_read_as_ultralytics_reads_them(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for name, channels, dtype in (("a.tif", 3, np.uint16), ("b.tif", 4, np.uint8), ("c.png", 3, np.uint16)):
        pixels = rng.integers(0, np.iinfo(dtype).max, (20, 30, channels)).astype(dtype)
        cv2.imwrite(str(tmp_path / name), pixels)
        np.testing.assert_array_equal(read_image(tmp_path / name), imread(str(tmp_path / name)))


@pytest.mark.parametrize(
    "content", [b"", b"no image", b"\0\0\0\x1cftypavif\0\0\0\0", b"\0\0\0\x18ftypheic\0\0\0\0mif1heic"]
)
@pytest.mark.parametrize("name", ["a.png", "a.avif", "a.heic", "a.dng", "a.jp2", "a.tif"])
def test_unreadable_image_is_refused(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(BadInput, match=rf"{name}: not a readable image"):
        read_image(tmp_path / name)
    assert find_unreadable([tmp_path / name]) == (tmp_path / name,)


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
