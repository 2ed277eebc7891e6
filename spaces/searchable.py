"""What a search asks of a space: `SearchSpace`, and of one base's space a little more.

Limits are upper limits by the name of a cost that the space can compute by itself.
"""

from collections.abc import Mapping
from typing import Protocol

import numpy as np

from spaces.candidate import Candidate
from spaces.space import Gene

Limits = Mapping[str, float]


class SearchSpace(Protocol):
    """Candidates that can be drawn, changed and crossed inside limits."""

    def check(self, limits: Limits, /) -> None:
        """Raise OutOfReach, with the interval that is in reach, if no candidate meets `limits`."""
        ...

    def sample(self, rng: np.random.Generator, /, *, limits: Limits, diversity: float = 1.0) -> Candidate:
        """Return a random candidate that uses its tightest limit and exceeds none; `diversity` 0 is uniform width.

        Raises:
            OutOfReach: no candidate meets the limits.
        """
        ...

    def mutate(self, candidate: Candidate, rng: np.random.Generator, /, *, limits: Limits) -> Candidate:
        """Return `candidate` with a few genes changed, within `limits`."""
        ...

    def cross(self, first: Candidate, second: Candidate, rng: np.random.Generator, /, *, limits: Limits) -> Candidate:
        """Return a candidate with each gene from one of the two, made narrower where it is over `limits`."""
        ...

    def fill(self, candidate: Candidate, rng: np.random.Generator, /, *, limits: Limits) -> Candidate:
        """Return `candidate` widened until the tightest limit is used up."""
        ...


class BaseSpace(SearchSpace, Protocol):
    """The candidates of one base, which are vectors of keep fractions too: so they can move to another base."""

    @property
    def genes(self) -> tuple[Gene, ...]:
        """The blocks and the counts that each may keep."""
        ...

    def shares(self, candidate: Candidate, /) -> dict[str, float]:
        """Return the fraction that `candidate` keeps of each block, by name."""
        ...

    def adopt(self, shares: Mapping[str, float], /) -> Candidate:
        """Return the candidate that keeps these fractions of the blocks of these names, and all of the others."""
        ...
