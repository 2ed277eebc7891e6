"""A data set of a few small noisy images, written in a moment."""

from pathlib import Path

import cv2
import numpy as np

BOX = "0 0.5 0.5 0.25 0.5\n"
YAML = "train: images/train\nval: images/val\nnames: [cat, dog]\n"
SHAPES = ((48, 64), (64, 48), (50, 50), (33, 71))  # height, width


def write_image(path: Path, *, seed: int, shape: tuple[int, int] = (48, 64)) -> Path:
    """Return `path`, where a smooth random image of `shape` now is."""
    coarse = np.random.default_rng(seed).integers(0, 256, (6, 6, 3), np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), cv2.resize(coarse, shape[::-1], interpolation=cv2.INTER_CUBIC))
    return path


def write_dataset(folder: Path, *, yaml: str = YAML, n_train: int = 4, n_val: int = 2) -> Path:
    """Return the data yaml of a data set in `folder` with one box in every image, of class 0 and 1 in turn."""
    for split, count in (("train", n_train), ("val", n_val)):
        (folder / "labels" / split).mkdir(parents=True)
        for index in range(count):
            shape = SHAPES[index % len(SHAPES)]
            write_image(folder / "images" / split / f"{index}.png", seed=1000 * (split == "val") + index, shape=shape)
            label = folder / "labels" / split / f"{index}.txt"
            label.write_text(BOX.replace("0 ", f"{index % 2} ", 1), encoding="utf-8")
    (folder / "data.yaml").write_text(yaml, encoding="utf-8")
    return folder / "data.yaml"
