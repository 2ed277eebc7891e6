import shutil
from pathlib import Path

import pytest

from evaluators.data.dataset import load_dataset
from evaluators.data.unlabelled import load_unlabelled
from spaces.errors import BadInput
from tests.evaluators.tiny import write_dataset, write_image


def test_unlabelled_images_are_those_that_the_data_set_does_not_have(tmp_path: Path) -> None:
    dataset = load_dataset(write_dataset(tmp_path / "data"))
    folder = tmp_path / "more"
    for index in range(3):
        write_image(folder / "deep" / f"{index}.png", seed=50 + index)
    shutil.copy(dataset.val[0].image, folder / "val.png")
    shutil.copy(dataset.train[0].image, folder / "train.png")
    found = load_unlabelled(folder, dataset)
    assert [sample.image.name for sample in found.samples] == ["0.png", "1.png", "2.png"]
    assert all(sample.labels.shape == (0, 5) for sample in found.samples)
    assert found.warnings == (
        f"images={str(folder)!r}: images that are in train or val too: 2 of 5, first {folder / 'train.png'}; left out",
    )
    shutil.copy(folder / "deep" / "0.png", folder / "other.png")
    assert load_unlabelled(folder, dataset).fingerprint != found.fingerprint


def test_a_folder_without_an_image_of_its_own_is_refused(tmp_path: Path) -> None:
    dataset = load_dataset(write_dataset(tmp_path / "data"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(BadInput, match=r"^images=.*has no images"):
        load_unlabelled(tmp_path / "empty", dataset)
    with pytest.raises(BadInput, match=r"^images=.*has no image that is not in train or val"):
        load_unlabelled(dataset.val[0].image.parent, dataset)
    with pytest.raises(BadInput, match=r"^images=.*must be an existing folder"):
        load_unlabelled(tmp_path / "gone", dataset)
