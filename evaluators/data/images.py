"""Images decoded once and kept as plain numpy, so that every worker of a node can read the same copy.

The geometry is that of Ultralytics' validation without rectangular batches, pixel for pixel: the long side is resized
to the image size, the rest is filled with grey on both sides.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from evaluators.data.dataset import Sample
from evaluators.data.decoding import read_image

GREY = 114


@dataclass(frozen=True, eq=False)
class Images:
    """Letterboxed images and what leads from them back to the originals; the arrays may be read-only.

    Attributes:
        pixels: uint8 (N, 3, imgsz, imgsz), RGB.
        shapes: int64 (N, 2), height and width of the originals in pixels.
        gains: float64 (N, 2), letterboxed over original pixels along x and y, which rounding makes differ.
        pads: int64 (N, 2), grey columns on the left and grey rows on the top.
        boxes: float32 (n, 6): index of the image, class, centre x, centre y, width, height as fractions of the
            original, in the order of the images.
    """

    pixels: NDArray[np.uint8]
    shapes: NDArray[np.int64]
    gains: NDArray[np.float64]
    pads: NDArray[np.int64]
    boxes: NDArray[np.float32]

    @property
    def imgsz(self) -> int:
        """The side of the letterboxed images in pixels."""
        return int(self.pixels.shape[-1])

    def __len__(self) -> int:
        return len(self.pixels)

    def parts(self, size: int) -> Iterator["Images"]:
        """Yield the images `size` at a time, the last part with what is left."""
        for start in range(0, len(self), size):
            of_part = slice(start, start + size)
            first, last = np.searchsorted(self.boxes[:, 0], (start, start + size))
            boxes = self.boxes[first:last] - np.array([start, 0, 0, 0, 0, 0], np.float32)
            yield Images(self.pixels[of_part], self.shapes[of_part], self.gains[of_part], self.pads[of_part], boxes)

    def batches(self, size: int) -> Iterator[Tensor]:
        """Yield float32 (B, 3, imgsz, imgsz) in [0, 1], channels last, `size` images at a time."""
        for part in self.parts(size):
            yield part.tensor()

    def tensor(self) -> Tensor:
        """Return all images as float32 (N, 3, imgsz, imgsz) in [0, 1], channels last."""
        scaled = np.empty((len(self), self.imgsz, self.imgsz, 3), np.float32)
        for channel in range(3):  # a plane at a time is four times as fast as all at once
            np.divide(self.pixels[:, channel], np.float32(255), out=scaled[..., channel], dtype=np.float32)
        return torch.from_numpy(scaled).permute(0, 3, 1, 2)

    def targets(self) -> dict[str, Tensor]:
        """Return the boxes as Ultralytics' losses take them: batch_idx (n,), cls (n, 1), bboxes (n, 4).

        The boxes are centre x, centre y, width, height as fractions of the letterboxed image.
        """
        of_image = self.boxes[:, 0].astype(np.int64)
        scale = self.gains * self.shapes[:, ::-1] / self.imgsz  # (N, 2) x, y of one original width and height
        centres = self.boxes[:, 2:4] * scale[of_image] + self.pads[of_image] / self.imgsz
        boxes = np.hstack([centres, self.boxes[:, 4:6] * scale[of_image]]).astype(np.float32)
        kinds = torch.from_numpy(self.boxes[:, 1:2].copy())
        return {"batch_idx": torch.from_numpy(of_image).float(), "cls": kinds, "bboxes": torch.from_numpy(boxes)}


def load_images(samples: Sequence[Sample], *, imgsz: int) -> Images:
    """Return `samples` decoded and letterboxed to squares of `imgsz` pixels.

    Raises:
        BadInput: a file is no image.
    """
    pixels = np.full((len(samples), 3, imgsz, imgsz), GREY, np.uint8)
    shapes = np.zeros((len(samples), 2), np.int64)
    fitted = np.zeros((len(samples), 2), np.int64)  # width, height inside the grey
    pads = np.zeros((len(samples), 2), np.int64)
    for index, sample in enumerate(samples):
        image = read_image(sample.image)
        shapes[index] = image.shape[:2]
        fitted[index], pads[index] = letterbox_(image, pixels[index])
    boxes = [np.insert(sample.labels, 0, index, axis=1) for index, sample in enumerate(samples)]
    return Images(pixels, shapes, fitted / shapes[:, ::-1], pads, np.concatenate(boxes).astype(np.float32))


def noise(n: int, *, imgsz: int, seed: int) -> Images:
    """Return `n` images of random pixels, without boxes."""
    pixels = np.random.default_rng(seed).integers(0, 256, (n, 3, imgsz, imgsz), np.uint8)
    shapes = np.full((n, 2), imgsz, np.int64)
    return Images(pixels, shapes, np.ones((n, 2)), np.zeros((n, 2), np.int64), np.zeros((0, 6), np.float32))


def letterbox_(image: NDArray[np.uint8], out: NDArray[np.uint8], /) -> tuple[tuple[int, int], tuple[int, int]]:
    """Put `image` (H, W, 3), BGR, into the middle of `out` (3, imgsz, imgsz), RGB, its long side resized to fit.

    Returns:
        Its width and height there, and the columns to the left and the rows above it, which are left as they were.
    """
    imgsz = out.shape[-1]
    image = fit(image, imgsz=imgsz)
    height, width = image.shape[:2]
    left, top = round((imgsz - width) / 2 - 0.1), round((imgsz - height) / 2 - 0.1)  # an odd pixel goes after
    out[:, top : top + height, left : left + width] = image[..., ::-1].transpose(2, 0, 1)
    return (width, height), (left, top)


def fit(image: NDArray[np.uint8], *, imgsz: int) -> NDArray[np.uint8]:
    """Return `image` (H, W, 3) with its long side resized to `imgsz` pixels."""
    height, width = image.shape[:2]
    scale = imgsz / max(height, width)
    if scale == 1:
        return image
    size = min(math.ceil(width * scale), imgsz), min(math.ceil(height * scale), imgsz)
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_LINEAR), np.uint8)
