from pathlib import Path

import numpy as np
import pytest

from evaluators.accuracy.ceiling import ceiling_sentence
from evaluators.accuracy.detection import coco_map
from evaluators.data.dataset import Dataset, Sample
from evaluators.data.images import load_images
from tests.evaluators.tiny import write_image


def crowd(folder: Path, counts: list[dict[int, int]]) -> Dataset:
    """Return a set whose val images hold so many boxes of each class, none over another."""
    val = []
    for index, of_class in enumerate(counts):
        kinds = [kind for kind, count in of_class.items() for _ in range(count)]
        places = np.arange(len(kinds))
        rows = [
            [kind, (at % 20 + 0.5) / 20, (at // 20 + 0.5) / 20, 0.04, 0.04]
            for at, kind in zip(places, kinds, strict=True)
        ]
        image = write_image(folder / f"{index}.png", seed=index, shape=(400, 400))
        val.append(Sample(image, np.array(rows, np.float32).reshape(-1, 5)))
    return Dataset(folder, ("RBC", "WBC", "other"), (), tuple(val), "", ())


@pytest.mark.parametrize(
    ("counts", "told"),
    [
        ([{0: 100, 1: 3}, {1: 100}], None),
        ([{0: 300, 1: 1}, {0: 20}, {}], "1 of 3 val images have more than 100 boxes of class RBC"),
        ([{0: 120, 2: 110}, {1: 130}], "2 of 2 val images have more than 100 boxes of class WBC or RBC or other"),
    ],
)
def test_what_a_perfect_detector_reaches_is_what_coco_gives_it(
    tmp_path: Path, counts: list[dict[int, int]], told: str | None
) -> None:
    dataset = crowd(tmp_path, counts)
    images = load_images(dataset.val, imgsz=416)
    perfect = []
    for sample in dataset.val:
        centre, half = sample.labels[:, 1:3] * 400, sample.labels[:, 3:5] * 200
        score = np.ones((len(sample.labels), 1))
        perfect.append(np.hstack([centre - half, centre + half, score, sample.labels[:, :1]]).astype(np.float32))
    found = coco_map(perfect, images)
    if told is None:
        assert ceiling_sentence(dataset) == ()
        assert found.map50_95 == pytest.approx(1)
        return
    (sentence,) = ceiling_sentence(dataset)
    assert sentence.startswith(told)
    assert f"a perfect detector reaches {found.map50_95:.3f} (" in sentence
    for kind, reached in found.per_class.items():
        assert reached == pytest.approx(1) or f"{dataset.names[kind]} {reached:.3f}" in sentence
