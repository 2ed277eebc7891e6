"""Zeros in place of widths: the control that every guide begins with. It searches nothing."""

from collections.abc import Sequence

import numpy as np

from evaluators.result import Result
from search.strategy import SearchSetup
from spaces.candidate import Candidate


class Unstructured:
    """Proposes the one candidate that it is given, a network under a mask.

    Source: Ultralytics' guide to pruning, `prune.l1_unstructured` at 0.3 in each layer, the zeros kept as numbers.
    """

    generation = 1

    def __init__(self, candidate: Candidate) -> None:
        self._candidate = candidate

    def ask(self, _: np.random.Generator, /) -> Candidate:
        """Return the one candidate."""
        return self._candidate

    def tell(self, results: Sequence[Result], /) -> None:
        """Learn nothing."""


def from_setup(setup: SearchSetup, /) -> Unstructured:
    """Return the control of `setup`, which fixes one candidate."""
    (candidate,) = setup.fixed
    return Unstructured(candidate)
