from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from ultralytics.nn.tasks import DetectionModel

from evaluators.accuracy.detection import coco_map, predict
from evaluators.data.dataset import load_dataset
from evaluators.data.digits import render_digits
from evaluators.data.images import load_images
from leaderboards.recipes.keys import NO_DATA
from leaderboards.recipes.parts import Sources
from leaderboards.recipes.reading import read_recipe
from leaderboards.runs.bases import calibration_images
from leaderboards.runs.data import load_data
from leaderboards.runs.inputs import load_inputs
from leaderboards.runs.prepare import prepare
from leaderboards.runs.profile import profile
from spaces.detectors.detector import load_detector
from spaces.detectors.embedded import EMBEDDED_PARENT
from spaces.errors import BadInput
from tests.evaluators.tiny import write_image

DIGITS = tuple("0123456789")


@pytest.fixture(scope="module")
def parent() -> DetectionModel:
    return load_detector(EMBEDDED_PARENT)[0]


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twenty images of digits, and their labels, which nothing may read."""
    return render_digits(tmp_path_factory.mktemp("digits"), n_train=20, n_val=2).parent / "images" / "train"


def sources_of(data: Path | str) -> Sources:
    return replace(read_recipe([]).parts().sources, data=str(data), search_images=4)


def test_of_images_without_labels_what_the_parent_finds_is_the_truth(parent: DetectionModel, images: Path) -> None:
    dataset, (search, rest) = load_data(sources_of(images), parent, names=DIGITS, imgsz=160)
    assert (len(dataset.val), len(search), len(rest)) == (4, 4, 12)
    assert {sample.image for sample in (*dataset.val, *search, *rest)} == set(images.iterdir())
    assert not dataset.is_labelled
    assert dataset.train == (*search, *rest)
    assert all(not len(sample.labels) for sample in rest)
    assert "has no labels: nothing is judged by them" in dataset.warnings[0]
    seen = load_images(dataset.val, imgsz=160)
    assert coco_map(predict(parent, seen), seen).map50_95 > 0.98  # the parent agrees with itself
    labelled = load_dataset(images.parent.parent / "data.yaml")
    truth = {sample.image: sample.labels for sample in labelled.train}
    n_true, n_found = (sum(len(one) for one in of) for of in ([truth[s.image] for s in dataset.val],
                                                                [s.labels for s in dataset.val]))  # fmt: skip
    assert 0.7 < n_found / n_true < 1.3


def test_the_same_images_are_drawn_by_the_same_seed_and_a_list_serves_as_well(
    parent: DetectionModel, images: Path, tmp_path: Path
) -> None:
    (tmp_path / "list.txt").write_text("".join(f"{image}\n" for image in sorted(images.iterdir())), encoding="utf-8")
    first, listed = (
        load_data(sources_of(where), parent, names=DIGITS, imgsz=160).dataset
        for where in (images, tmp_path / "list.txt")
    )
    assert [sample.image for sample in first.val] == [sample.image for sample in listed.val]
    assert first.fingerprint == listed.fingerprint
    other = load_data(replace(sources_of(images), seed=1), parent, names=DIGITS, imgsz=160).dataset
    assert [sample.image for sample in other.val] != [sample.image for sample in first.val]


def test_images_on_which_the_parent_finds_nothing_are_refused(parent: DetectionModel, tmp_path: Path) -> None:
    for index in range(6):
        write_image(tmp_path / f"{index}.png", seed=index)
    with pytest.raises(BadInput, match=r"has no labels, and the parent finds nothing with a score of 0.25"):
        load_data(sources_of(tmp_path), parent, names=DIGITS, imgsz=64)
    for index in range(2):
        (tmp_path / f"{index}.png").unlink()
    with pytest.raises(BadInput, match=r"must have at least 5 images, got 4"):
        load_data(sources_of(tmp_path), parent, names=DIGITS, imgsz=64)


def test_without_data_a_network_is_profiled_all_the_same() -> None:
    words = [f"weights={EMBEDDED_PARENT}", "imgsz=64", "bits=4,8", "depth=1", "gflops=60%"]
    parts = read_recipe(words, needs_data=False).parts()
    assert parts.sources.data == NO_DATA
    facts = profile(prepare(parts))
    assert (facts["train"], facts["val"], facts["classes"]) == (0, 0, 10)
    assert facts["warnings"] == ["no data is named: what needs images saw noise"]
    assert facts["bases"] == ["same", "same-1"]
    noise = calibration_images(load_inputs(parts).holdout, 3, seed=0, imgsz=64)
    assert noise.pixels.shape == (3, 3, 64, 64)
    assert np.unique(noise.pixels).size == 256
    with pytest.raises(BadInput, match="data must be given too"):
        read_recipe(words)
