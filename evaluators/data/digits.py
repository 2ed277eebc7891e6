"""The embedded data set: real handwritten digits, scattered over cluttered textures.

Sources are the 1,797 scans of 8 x 8 pixels that come with scikit-learn (UCI Optical Recognition of Handwritten
Digits). Train and val are drawn from disjoint scans, so val asks for generalisation and not for recall.
Everything follows from the seed; the images are rendered once into a folder in the Ultralytics layout.
"""

import os
import shutil
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import yaml
from numpy.typing import NDArray
from sklearn.datasets import load_digits

IMGSZ = 160
VERSION = 1  # part of the folder's name: raise it whenever a pixel changes

Image = NDArray[np.uint8]  # (IMGSZ, IMGSZ, 3)
Scan = NDArray[np.float32]  # (8, 8), ink in [0, 1]


class Scene(NamedTuple):
    """One rendered image and its labels."""

    image: Image
    labels: NDArray[np.float64]  # (n_digits, 5): class, then centre x, centre y, width, height in [0, 1]


def render_digits(folder: Path, *, n_train: int = 2048, n_val: int = 256, seed: int = 0) -> Path:
    """Return the data yaml of the digits set under `folder`, rendering it if it is not there yet.

    The folder appears whole or not at all: it is rendered beside its place and moved there in one step.
    """
    root = folder / f"digits-v{VERSION}-{n_train}-{n_val}-{seed}"
    if not root.exists():
        partial = root.with_name(f"{root.name}.{os.getpid()}.partial")
        shutil.rmtree(partial, ignore_errors=True)
        scans, classes = _scans()
        is_val = np.random.default_rng(seed).permutation(len(scans)) < len(scans) // 5
        for split, count, chosen in (("train", n_train, ~is_val), ("val", n_val, is_val)):
            _write_split(partial, split, scans[chosen], classes[chosen], count=count, seed=seed)
        names = {index: str(index) for index in range(10)}
        description = {"path": ".", "train": "images/train", "val": "images/val", "nc": 10, "names": names}
        (partial / "data.yaml").write_text(yaml.safe_dump(description, sort_keys=False), encoding="utf-8")
        try:
            partial.rename(root)
        except OSError:  # another process rendered it first: the same bytes
            shutil.rmtree(partial)
    return root / "data.yaml"


def render_scene(scans: NDArray[np.float32], classes: NDArray[np.int64], rng: np.random.Generator) -> Scene:
    """Return one scene of 2 to 9 digits drawn from `scans` of shape (n, 8, 8)."""
    canvas = _texture(rng)
    _draw_clutter_(canvas, scans, rng)
    covered = np.zeros((IMGSZ, IMGSZ), np.float32)
    labels = []
    for _ in range(int(rng.integers(2, 10))):
        index = int(rng.integers(len(scans)))
        alpha = _place(scans[index], size=float(rng.triangular(12, 28, 64)), rng=rng)
        ink = alpha > 0.3
        if ink.sum() < 12 or (covered[ink] > 0).mean() > 0.2:  # some overlap is wanted, burial is not
            continue
        covered[ink] = 1
        _blend_(canvas, alpha, rng)
        labels.append([float(classes[index]), *_box(ink)])
    noisy = canvas + rng.normal(0, rng.uniform(1, 6), canvas.shape)
    return Scene(np.clip(noisy, 0, 255).astype(np.uint8), np.array(labels, np.float64).reshape(-1, 5))


def _scans() -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    digits = load_digits()
    return (digits.images / 16).astype(np.float32), digits.target.astype(np.int64)


def _write_split(
    root: Path, split: str, scans: NDArray[np.float32], classes: NDArray[np.int64], *, count: int, seed: int
) -> None:
    images, labels = root / "images" / split, root / "labels" / split
    images.mkdir(parents=True)
    labels.mkdir(parents=True)
    for number in range(count):
        rng = np.random.default_rng([seed, split == "val", number])
        scene = render_scene(scans, classes, rng)
        cv2.imwrite(str(images / f"{number:05d}.jpg"), scene.image, [cv2.IMWRITE_JPEG_QUALITY, 92])
        rows = (f"{int(row[0])} " + " ".join(f"{value:.6f}" for value in row[1:]) for row in scene.labels)
        (labels / f"{number:05d}.txt").write_text("".join(f"{row}\n" for row in rows), encoding="utf-8")


def _texture(rng: np.random.Generator) -> NDArray[np.float32]:
    """Return a coloured background: noise of three octaves around a random level, (IMGSZ, IMGSZ, 3)."""
    canvas = np.full((IMGSZ, IMGSZ, 3), rng.uniform(40, 215), np.float32) + rng.normal(0, 18, 3).astype(np.float32)
    for cells in (3, 10, 40):
        coarse = rng.normal(0, rng.uniform(2, 14), (cells, cells, 3 if rng.random() < 0.5 else 1)).astype(np.float32)
        fine = cv2.resize(coarse, (IMGSZ, IMGSZ), interpolation=cv2.INTER_CUBIC)
        canvas += fine.reshape(IMGSZ, IMGSZ, -1)
    return canvas


def _draw_clutter_(canvas: NDArray[np.float32], scans: NDArray[np.float32], rng: np.random.Generator) -> None:
    """Draw strokes, discs and fragments of digits that are no digits onto `canvas`."""
    for _ in range(int(rng.integers(2, 9))):
        start, end = (tuple(int(v) for v in rng.integers(0, IMGSZ, 2)) for _ in range(2))
        colour = tuple(float(v) for v in rng.uniform(0, 255, 3))
        thickness = int(rng.integers(1, 5))
        if rng.random() < 0.5:
            cv2.line(canvas, start, end, colour, thickness, cv2.LINE_AA)
        else:
            axes = tuple(int(v) for v in rng.integers(3, 24, 2))
            cv2.ellipse(
                canvas, start, axes, float(rng.uniform(0, 180)), 0, float(rng.uniform(90, 360)), colour, thickness
            )
    for _ in range(int(rng.integers(0, 3))):
        fragment = scans[rng.integers(len(scans))].copy()
        rows = slice(0, 5) if rng.random() < 0.5 else slice(3, 8)
        fragment[rows] = 0  # what is left of a digit when most of it is gone
        _blend_(canvas, _place(fragment, size=float(rng.uniform(12, 48)), rng=rng), rng)


def _place(scan: Scan, *, size: float, rng: np.random.Generator) -> NDArray[np.float32]:
    """Return `scan` at `size` pixels, rotated by up to 35 degrees, somewhere on the canvas: (IMGSZ, IMGSZ)."""
    angle = np.deg2rad(rng.uniform(-35, 35))
    scale = size / 8
    aspect = rng.uniform(0.8, 1.25)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    matrix = turn @ np.diag([scale * aspect, scale / aspect])
    centre = rng.uniform(0.4 * size, IMGSZ - 0.4 * size, 2)
    shift = centre - matrix @ np.array([3.5, 3.5])
    placed = cv2.warpAffine(scan, np.column_stack([matrix, shift]), (IMGSZ, IMGSZ), flags=cv2.INTER_CUBIC)
    return np.asarray(np.clip(placed, 0, 1), np.float32)


def _blend_(canvas: NDArray[np.float32], alpha: NDArray[np.float32], rng: np.random.Generator) -> None:
    """Paint `alpha` onto `canvas`, lighter or darker than what lies under it by 45 to 160 levels."""
    ink = alpha > 0.3
    ground = float(canvas[ink].mean()) if ink.any() else 128.0
    contrast = float(np.exp(rng.uniform(np.log(45), np.log(160))))
    brighter = rng.random() < (0.9 if ground < 90 else 0.1 if ground > 165 else 0.5)
    colour = ground + (contrast if brighter else -contrast) + rng.normal(0, 10, 3)
    canvas *= 1 - alpha[..., None]
    canvas += alpha[..., None] * colour.astype(np.float32)


def _box(ink: NDArray[np.bool_]) -> tuple[float, float, float, float]:
    """Return centre x, centre y, width, height of the set pixels, as fractions of the canvas."""
    rows, columns = np.flatnonzero(ink.any(1)), np.flatnonzero(ink.any(0))
    top, bottom, left, right = rows[0], rows[-1] + 1, columns[0], columns[-1] + 1
    return (left + right) / 2 / IMGSZ, (top + bottom) / 2 / IMGSZ, (right - left) / IMGSZ, (bottom - top) / IMGSZ
