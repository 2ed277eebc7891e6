from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evaluators.data.dataset import Sample
from evaluators.data.holdout import split_holdout
from spaces.errors import BadInput


def samples_of(classes: list[list[int]]) -> list[Sample]:
    return [
        Sample(
            Path(f"/{index}.jpg"), np.array([[kind, 0.5, 0.5, 0.1, 0.1] for kind in kinds], np.float32).reshape(-1, 5)
        )
        for index, kinds in enumerate(classes)
    ]


CLASSES = st.lists(st.lists(st.integers(0, 5), max_size=3), min_size=3, max_size=30)


@given(CLASSES, st.integers(1, 20), st.integers(0, 3))
def test_holdout_is_a_seeded_partition_of_at_most_a_third(classes: list[list[int]], n_holdout: int, seed: int) -> None:
    samples = samples_of(classes)
    search, rest = split_holdout(samples, n_holdout=n_holdout, seed=seed)
    assert len(search) == min(n_holdout, len(samples) // 3)
    assert set(search) | set(rest) == set(samples)
    assert len(search) + len(rest) == len(samples)
    assert split_holdout(samples, n_holdout=n_holdout, seed=seed) == (search, rest)


@given(CLASSES, st.integers(1, 20), st.integers(0, 3))
def test_holdout_has_empty_images_only_when_the_others_are_used_up(
    classes: list[list[int]], n_holdout: int, seed: int
) -> None:
    images_of = Counter(kind for kinds in classes for kind in set(kinds))
    search, rest = split_holdout(samples_of(classes), n_holdout=n_holdout, seed=seed)
    if any(not len(sample.labels) for sample in search):
        left = Counter(int(kind) for sample in rest for kind in set(sample.labels[:, 0]))
        spare = [s for s in rest if len(s.labels) and all(left[int(kind)] > 1 for kind in s.labels[:, 0])]
        assert spare == []
        assert set(left) == set(images_of)


def test_holdout_covers_every_class_and_leaves_every_class() -> None:
    classes = [[0]] * 20 + [[1], [1], [2], [2], [3]]  # class 3 has one image, which must stay
    for seed in range(10):
        search, rest = split_holdout(samples_of(classes), n_holdout=3, seed=seed)
        assert {int(sample.labels[0, 0]) for sample in search} == {0, 1, 2}
        assert {int(sample.labels[0, 0]) for sample in rest} == {0, 1, 2, 3}


def test_holdout_differs_between_seeds() -> None:
    samples = samples_of([[0]] * 30)
    assert split_holdout(samples, n_holdout=10, seed=0) != split_holdout(samples, n_holdout=10, seed=1)


def test_holdout_of_too_few_images_is_refused() -> None:
    with pytest.raises(BadInput, match=r"at least 3 images .* got 2"):
        split_holdout(samples_of([[0], [0]]), n_holdout=1, seed=0)
    with pytest.raises(ValueError, match="n_holdout must be at least 1, got 0"):
        split_holdout(samples_of([[0]] * 3), n_holdout=0, seed=0)
