"""The one interface of every search method."""

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from evaluators.result import Result
from spaces.candidate import Candidate


class Strategy(Protocol):
    """Proposes candidates and learns from results. Owns no randomness, starts no work, builds nothing.

    Proposals come in generations: within one, no proposal depends on another's result, so a generation is
    measured in any order by any number of workers and the next one is still the same.
    """

    generation: int
    """How many candidates are proposed between two calls of `tell`."""

    def ask(self, rng: np.random.Generator, /) -> Candidate:
        """Return the next candidate; all chance comes from `rng`."""
        ...

    def tell(self, results: Sequence[Result], /) -> None:
        """Take in the results of a whole generation, in the order of proposal."""
        ...
