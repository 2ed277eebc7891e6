"""The images of a fine-tuning: decoded once, augmented afresh in every epoch, on the caller's own thread.

Ultralytics' loader writes caches into the data folder, starts worker processes, and draws from global generators.
Here all chance comes from (seed, epoch, index), so every network sees the same images and a resumed run sees what
the uninterrupted one would have seen. Position, scale, mirror and letterbox are one affine warp.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from evaluators.data.dataset import Sample
from spaces.errors import BadInput

CACHE_BYTES = 2_000_000_000
GREY = 114  # ultralytics' padding
SCALE, SHIFT = 0.3, 0.1  # zoom within 1 -+ SCALE, shift within -+ SHIFT of the side
HSV_GAINS = (0.015, 0.7, 0.4)  # ultralytics' defaults for hue, saturation, value
MIN_SIDE, MIN_VISIBLE = 2.0, 0.2  # a box is kept if it spans 2 pixels and a fifth of it is still in view

Image = NDArray[np.uint8]  # (height, width, 3)
Boxes = NDArray[np.float32]  # (n, 5): class, then left, top, right, bottom in pixels


class Shot(NamedTuple):
    """One augmented image (imgsz, imgsz, 3), RGB, and its boxes."""

    image: Image
    boxes: Boxes


class Batch(NamedTuple):
    """What one step takes.

    Attributes:
        images: uint8 (B, 3, imgsz, imgsz), channels last in memory.
        targets: what ultralytics' criteria read: "batch_idx" (n,), "cls" (n, 1), "bboxes" (n, 4), centre and size
            in [0, 1].
    """

    images: Tensor
    targets: dict[str, Tensor]


class TrainingSet:
    """Samples at one image size, kept decoded as far as 2 GB reach."""

    def __init__(self, samples: Sequence[Sample], *, imgsz: int) -> None:
        self.imgsz = imgsz
        self._samples = samples
        self._images: dict[int, Image] = {}
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._samples)

    def __getitem__(self, index: int) -> Shot:
        """Return the image as BGR, its long side scaled to `imgsz`, with its boxes.

        Raises:
            BadInput: the file is no longer a readable image.
        """
        image = self._images.get(index)
        if image is None:
            image = self._decode(index)
            if self._bytes + image.nbytes <= CACHE_BYTES:
                self._images[index] = image
                self._bytes += image.nbytes
        labels = np.asarray(self._samples[index].labels, np.float32)
        half = labels[:, 3:] / 2
        corners = np.hstack([labels[:, 1:3] - half, labels[:, 1:3] + half]) * np.tile(image.shape[1::-1], 2)
        return Shot(image, np.hstack([labels[:, :1], corners]).astype(np.float32))

    def _decode(self, index: int) -> Image:
        path = self._samples[index].image
        image = cv2.imread(str(path), cv2.IMREAD_COLOR)
        if image is None:
            raise BadInput(f"{path} must be an image that OpenCV can decode")
        gain = self.imgsz / max(image.shape[:2])
        if gain != 1:
            size = (max(round(image.shape[1] * gain), 1), max(round(image.shape[0] * gain), 1))
            image = cv2.resize(image, size, interpolation=cv2.INTER_LINEAR)
        return np.asarray(image, np.uint8)


def epoch_batches(
    data: TrainingSet, *, epoch: int, batch: int, flip: float, mosaic: float, seed: int
) -> Iterator[Batch]:
    """Yield the batches of one epoch: every sample once, in the epoch's own order, in sizes that differ by at most 1.

    `epoch` counts from 0; `batch` is the largest size; `flip` and `mosaic` are the probabilities that an image is
    mirrored and that it is one corner of a mosaic of four. All chance comes from (`seed`, `epoch`, index).
    """
    order = np.random.default_rng([seed, epoch]).permutation(len(data))
    for chosen in np.array_split(order, n_batches(len(data), batch)):
        shots = [
            augment(data, int(i), np.random.default_rng([seed, epoch, i]), flip=flip, mosaic=mosaic) for i in chosen
        ]
        yield _collate(shots)


def n_batches(n_samples: int, batch: int) -> int:
    """Return the number of batches in an epoch."""
    return -(-n_samples // batch)


def augment(data: TrainingSet, index: int, rng: np.random.Generator, *, flip: float, mosaic: float) -> Shot:
    """Return sample `index`, or a mosaic of it and three others, moved, scaled, mirrored and recoloured."""
    size = data.imgsz
    canvas = np.full((size, size, 3), GREY, np.uint8)
    zoom = float(rng.uniform(1 - SCALE, 1 + SCALE))
    if rng.random() < mosaic:
        boxes = _draw_mosaic_(canvas, [data[i] for i in (index, *rng.integers(len(data), size=3))], zoom, rng)
    else:
        shot = data[index]
        height, width = shot.image.shape[:2]
        shift = size * rng.uniform(-SHIFT, SHIFT, 2)
        corner = (size / 2 + shift[0] - zoom * width / 2, size / 2 + shift[1] - zoom * height / 2)
        boxes = _draw_(canvas, shot, corner, zoom)
    if rng.random() < flip:
        canvas = np.ascontiguousarray(canvas[:, ::-1])
        boxes[:, [1, 3]] = size - boxes[:, [3, 1]]
    return Shot(_recolour(canvas, rng), boxes)


def _draw_mosaic_(canvas: Image, shots: Sequence[Shot], zoom: float, rng: np.random.Generator) -> Boxes:
    """Draw four images around a random point of `canvas`, each in its own quadrant, and return the visible boxes."""
    size = len(canvas)
    x, y = (int(v) for v in rng.uniform(0.25 * size, 0.75 * size, 2))
    kept = []
    for shot, right, below in zip(shots, (False, True, False, True), (False, False, True, True), strict=True):
        height, width = shot.image.shape[:2]
        tile = canvas[slice(y, size) if below else slice(0, y), slice(x, size) if right else slice(0, x)]
        boxes = _draw_(tile, shot, (0 if right else x - zoom * width, 0 if below else y - zoom * height), zoom)
        kept.append(boxes + np.array([0, x * right, y * below, x * right, y * below], np.float32))
    return np.concatenate(kept)


def _draw_(canvas: Image, shot: Shot, corner: tuple[float, float], zoom: float) -> Boxes:
    """Draw an image onto `canvas`, its left top at `corner` (x, y), and return the boxes that stay visible."""
    centre = (zoom - 1) / 2  # OpenCV counts from the centres of the pixels
    matrix = np.array([[zoom, 0, corner[0] + centre], [0, zoom, corner[1] + centre]], np.float64)
    height, width = canvas.shape[:2]
    canvas[:] = cv2.warpAffine(shot.image, matrix, (width, height), borderValue=(GREY, GREY, GREY))
    placed = shot.boxes[:, 1:] * zoom + np.tile(np.array(corner, np.float32), 2)
    seen = placed.clip(0, np.tile(np.array([width, height], np.float32), 2))
    sides, whole = seen[:, 2:] - seen[:, :2], placed[:, 2:] - placed[:, :2]
    is_kept = (sides > MIN_SIDE).all(1) & (sides.prod(1) > MIN_VISIBLE * whole.prod(1))
    return np.asarray(np.hstack([shot.boxes[:, :1], seen])[is_kept], np.float32)


def _recolour(image: Image, rng: np.random.Generator) -> Image:
    """Return a BGR image as RGB, its hue, saturation and value changed by random gains."""
    hue, saturation, value = rng.uniform(-1, 1, 3) * HSV_GAINS
    levels = np.arange(256)
    tables = np.stack(
        [(levels + hue * 180) % 180, np.clip(levels * (1 + saturation), 0, 255), np.clip(levels * (1 + value), 0, 255)],
        axis=-1,
    ).astype(np.uint8)
    tables[0, 1] = 0  # grey stays grey
    hsv = cv2.LUT(cv2.cvtColor(image, cv2.COLOR_BGR2HSV), tables.reshape(1, 256, 3))
    return np.asarray(cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB), np.uint8)


def _collate(shots: Sequence[Shot]) -> Batch:
    size = len(shots[0].image)
    boxes = np.concatenate([shot.boxes for shot in shots])
    owners = np.repeat(np.arange(len(shots)), [len(shot.boxes) for shot in shots])
    low, high = boxes[:, 1:3] / size, boxes[:, 3:] / size
    targets = {
        "batch_idx": torch.from_numpy(owners.astype(np.float32)),
        "cls": torch.from_numpy(np.ascontiguousarray(boxes[:, :1])),
        "bboxes": torch.from_numpy(np.hstack([(low + high) / 2, high - low])),
    }
    return Batch(torch.from_numpy(np.stack([shot.image for shot in shots])).permute(0, 3, 1, 2), targets)
