"""Where the milliseconds of a detection go: making the image ready, the network, and picking boxes from its outputs."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from evaluators.accuracy.detection import detections
from evaluators.data.dataset import Sample
from evaluators.data.decoding import read_image
from evaluators.data.images import GREY, letterbox_, load_images
from evaluators.latency.timing import Latency, alone_and_pinned, time_calls
from evaluators.runtimes.runtime import OpenFile


class Stages(NamedTuple):
    """What is done before and after the network.

    Attributes:
        preprocess: from a decoded image to the network's input.
        postprocess: from the network's outputs for it to boxes in its pixels.
    """

    preprocess: Latency
    postprocess: Latency


def measure_stages(file: OpenFile, sample: Sample, /, *, imgsz: int, max_seconds: float = 1.0) -> Stages:
    """Return how long the stages around `file` take for one image, on one thread.

    The boxes are those that mAP is measured on: scores above 0.001, which is more work than most users ask for.

    Raises:
        BadInput: the image cannot be read.
    """
    image, letterboxed = read_image(sample.image), load_images([sample], imgsz=imgsz)
    outputs = file(torch.from_numpy(ready(image, imgsz=imgsz)))
    calls = (lambda: ready(image, imgsz=imgsz), lambda: detections(outputs, letterboxed))
    with alone_and_pinned(1) as cpus, _one_thread():
        return Stages(*(time_calls(call, threads=1, cpus=cpus, max_seconds=max_seconds) for call in calls))


def ready(image: NDArray[np.uint8], /, *, imgsz: int) -> NDArray[np.float32]:
    """Return what the network takes, float32 (1, 3, imgsz, imgsz) in [0, 1], of a decoded `image` (H, W, 3), BGR."""
    pixels = np.full((3, imgsz, imgsz), GREY, np.uint8)
    letterbox_(image, pixels)
    return np.divide(pixels[None], np.float32(255), dtype=np.float32)


@contextmanager
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads(), cv2.getNumThreads()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before[0])
        cv2.setNumThreads(before[1])
