"""Train in two parts: what ranks candidates, and what calibrates them."""

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from evaluators.data.dataset import Sample
from spaces.errors import BadInput


class Holdout(NamedTuple):
    """Train in two parts: what ranks candidates, and what calibrates them. Fine-tuning reads both."""

    search: tuple[Sample, ...]
    rest: tuple[Sample, ...]


def split_holdout(samples: Sequence[Sample], *, n_holdout: int, seed: int) -> Holdout:
    """Return `samples` in two parts, the first with `n_holdout` of them but never more than a third.

    Held out are first images that cover the classes, the rarest first, then others with boxes, then others. An image
    that alone has some class stays in `rest` as long as there are others to hold out.

    Raises:
        BadInput: fewer than 3 samples.
        ValueError: `n_holdout` is below 1.
    """
    if n_holdout < 1:
        raise ValueError(f"n_holdout must be at least 1, got {n_holdout}")
    if len(samples) < 3:
        raise BadInput(f"train must have at least 3 images for one to be held out, got {len(samples)}")
    classes = [frozenset(sample.labels[:, 0].astype(int).tolist()) for sample in samples]
    order = sorted(np.random.default_rng(seed).permutation(len(samples)).tolist(), key=lambda index: not classes[index])
    held = _hold_out(classes, order, count=min(n_holdout, len(samples) // 3))
    rest = tuple(sample for index, sample in enumerate(samples) if index not in held)
    return Holdout(tuple(samples[index] for index in sorted(held)), rest)


def _hold_out(classes: Sequence[frozenset[int]], order: Sequence[int], *, count: int) -> frozenset[int]:
    left = Counter(kind for kinds in classes for kind in kinds)  # images of each class that are not held out
    held: set[int] = set()

    def hold_first(candidates: Sequence[int]) -> None:
        for index in candidates:
            if len(held) < count and index not in held and all(left[kind] > 1 for kind in classes[index]):
                held.add(index)
                left.subtract(classes[index])
                return

    for kind, _ in reversed(left.most_common()):
        with_kind = [index for index in order if kind in classes[index]]
        if held.isdisjoint(with_kind):
            hold_first(with_kind)
    for index in order:
        hold_first([index])
    held.update([index for index in order if index not in held][: count - len(held)])
    return frozenset(held)
