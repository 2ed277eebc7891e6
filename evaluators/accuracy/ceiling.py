"""What mAP a perfect detector reaches where images are crowded: COCO counts 100 detections of a class in an image."""

from collections import Counter

import numpy as np

from evaluators.accuracy.average_precision import MAX_OF_A_CLASS, RECALLS
from evaluators.data.dataset import Dataset


def ceiling_sentence(dataset: Dataset, /) -> tuple[str, ...]:
    """Return a sentence on what mAP a perfect detector reaches on val; none where that is 1.

    Source: pycocotools' cocoeval.py, maxDets 100.
    """
    counts: dict[int, list[int]] = {}  # of boxes, in each image that has the class
    for sample in dataset.val:
        for kind, count in Counter(sample.labels[:, 0].astype(int).tolist()).items():
            counts.setdefault(kind, []).append(count)
    reached = {kind: _average_precision(each) for kind, each in counts.items()}
    crowded = sorted((kind for kind in counts if max(counts[kind]) > MAX_OF_A_CLASS), key=lambda kind: reached[kind])
    if not crowded:
        return ()
    n_images = sum(
        any(int((sample.labels[:, 0] == kind).sum()) > MAX_OF_A_CLASS for kind in crowded) for sample in dataset.val
    )
    named = " or ".join(dataset.names[kind] for kind in crowded)
    each = ", ".join(f"{dataset.names[kind]} {reached[kind]:.3f}" for kind in crowded)
    return (
        f"{n_images} of {len(dataset.val)} val images have more than {MAX_OF_A_CLASS} boxes of class {named}, of which "
        f"COCO mAP counts {MAX_OF_A_CLASS} detections, so a perfect detector reaches "
        f"{float(np.mean(list(reached.values()))):.3f} ({each})",
    )


def _average_precision(counts: list[int]) -> float:
    """Return the average precision of a detector that finds `counts` boxes in each image, as far as they count."""
    recall = sum(min(count, MAX_OF_A_CLASS) for count in counts) / sum(counts)
    return float((recall >= RECALLS).mean())
