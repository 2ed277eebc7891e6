from pathlib import Path

import numpy as np
import pytest
import torch
from ultralytics.data.dataset import YOLODataset

from evaluators.data.dataset import Sample, load_dataset
from evaluators.data.images import Images, fit, load_images
from tests.evaluators.tiny import SHAPES, write_dataset, write_image


@pytest.fixture
def samples(tmp_path: Path) -> tuple[Sample, ...]:
    return load_dataset(write_dataset(tmp_path, n_train=len(SHAPES))).train


@pytest.mark.parametrize("imgsz", [64, 96, 32])
def test_pixels_boxes_and_geometry_are_those_of_ultralytics_validation(
    samples: tuple[Sample, ...], tmp_path: Path, imgsz: int
) -> None:
    data = {"names": {0: "cat", 1: "dog"}, "channels": 3}
    peer = YOLODataset(img_path=str(tmp_path / "images/train"), data=data, imgsz=imgsz, augment=False, rect=False)
    images = load_images(samples, imgsz=imgsz)
    for index, part in enumerate(images.parts(1)):
        theirs, ours = peer[index], part.targets()
        assert Path(theirs["im_file"]) == samples[index].image
        np.testing.assert_array_equal(part.pixels[0], theirs["img"].numpy())
        torch.testing.assert_close(ours["bboxes"], theirs["bboxes"], rtol=0, atol=1e-6)
        torch.testing.assert_close(ours["cls"], theirs["cls"])
        (gain_y, gain_x), pad = theirs["ratio_pad"]
        np.testing.assert_allclose(part.gains[0], (gain_x, gain_y))
        assert part.pads[0].tolist() == list(pad)
        assert tuple(part.shapes[0]) == theirs["ori_shape"]


def test_parts_hold_the_images_and_boxes_of_the_whole_in_order(samples: tuple[Sample, ...]) -> None:
    images = load_images(samples, imgsz=32)
    parts = list(images.parts(3))
    assert [len(part) for part in parts] == [3, 1]
    assert [part.boxes[:, 0].tolist() for part in parts] == [[0, 1, 2], [0]]
    for name in ("pixels", "shapes", "gains", "pads"):
        np.testing.assert_array_equal(np.concatenate([getattr(part, name) for part in parts]), getattr(images, name))
    np.testing.assert_array_equal(np.concatenate([part.boxes[:, 1:] for part in parts]), images.boxes[:, 1:])


def test_read_only_arrays_serve_as_well(samples: tuple[Sample, ...]) -> None:
    images = load_images(samples, imgsz=32)
    for array in (images.pixels, images.shapes, images.gains, images.pads, images.boxes):
        array.flags.writeable = False  # as Ray hands them out
    batches = list(images.batches(3))
    assert [batch.shape for batch in batches] == [(3, 3, 32, 32), (1, 3, 32, 32)]
    assert all(batch.is_contiguous(memory_format=torch.channels_last) for batch in batches)
    np.testing.assert_array_equal(torch.cat(batches).numpy(), images.pixels.astype(np.float32) / np.float32(255))
    assert len(images.targets()["batch_idx"]) == 4


def test_images_without_boxes_give_empty_targets(tmp_path: Path) -> None:
    image = write_image(tmp_path / "a.png", seed=0)
    images = load_images([Sample(image, np.zeros((0, 5), np.float32))], imgsz=32)
    assert {name: tuple(tensor.shape) for name, tensor in images.targets().items()} == {
        "batch_idx": (0,),
        "cls": (0, 1),
        "bboxes": (0, 4),
    }


def test_very_thin_image_keeps_a_pixel() -> None:
    assert fit(np.zeros((1, 3000, 3), np.uint8), imgsz=32).shape == (1, 32, 3)


def test_imgsz_is_the_side_in_pixels(samples: tuple[Sample, ...]) -> None:
    images: Images = load_images(samples, imgsz=96)
    assert images.imgsz == 96
    assert len(images) == len(samples)
