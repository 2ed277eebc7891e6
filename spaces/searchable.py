"""What a search asks of a space."""

from collections.abc import Mapping
from typing import Protocol

import numpy as np

from spaces.candidate import Candidate
from spaces.space import Gene


class Bred(Protocol):
    """A space that can be drawn from and bred in, inside limits."""

    def sample(self, rng: np.random.Generator, /, *, limits: Mapping[str, float], diversity: float = 1.0) -> Candidate:
        """Return a random candidate."""
        ...

    def mutate(self, candidate: Candidate, rng: np.random.Generator, /, *, limits: Mapping[str, float]) -> Candidate:
        """Return `candidate` with a few genes changed."""
        ...

    def cross(
        self, first: Candidate, second: Candidate, rng: np.random.Generator, /, *, limits: Mapping[str, float]
    ) -> Candidate:
        """Return a candidate with each gene from one of the two."""
        ...

    def fill(self, candidate: Candidate, rng: np.random.Generator, /, *, limits: Mapping[str, float]) -> Candidate:
        """Return `candidate` widened until the tightest limit is used up."""
        ...


class BaseSpace(Protocol):
    """What is asked of the space of one base when candidates move between several."""

    def check(self, limits: Mapping[str, float], /) -> None:
        """Raise OutOfReach unless some candidate meets `limits`."""
        ...

    def shares(self, candidate: Candidate, /) -> dict[str, float]:
        """Return the fraction that `candidate` keeps of each block, by name."""
        ...

    def adopt(self, shares: Mapping[str, float], /) -> Candidate:
        """Return the candidate that keeps these fractions of the blocks of these names."""
        ...


class Sampled(Protocol):
    """A space that can be drawn from."""

    def check(self, limits: Mapping[str, float], /) -> None:
        """Raise OutOfReach if no candidate meets `limits`."""
        ...

    def sample(self, rng: np.random.Generator, /, *, limits: Mapping[str, float], diversity: float = 1.0) -> Candidate:
        """Return a random candidate that uses its tightest limit and exceeds none; `diversity` 0 is uniform width."""
        ...


class Breeding(Sampled, Protocol):
    """A space whose candidates can be changed and crossed inside limits."""

    def mutate(self, candidate: Candidate, rng: np.random.Generator, /, *, limits: Mapping[str, float]) -> Candidate:
        """Return `candidate` with a few genes changed."""
        ...

    def cross(
        self, first: Candidate, second: Candidate, rng: np.random.Generator, /, *, limits: Mapping[str, float]
    ) -> Candidate:
        """Return a candidate with each gene from one of the two."""
        ...

    def fill(self, candidate: Candidate, rng: np.random.Generator, /, *, limits: Mapping[str, float]) -> Candidate:
        """Return `candidate` widened until the tightest limit is used up."""
        ...


class Widths(Protocol):
    """A base as a vector of keep fractions."""

    genes: tuple[Gene, ...]

    def shares(self, candidate: Candidate, /) -> dict[str, float]:
        """Return the fraction that `candidate` keeps of each block, by name."""
        ...

    def adopt(self, shares: Mapping[str, float], /) -> Candidate:
        """Return the candidate that keeps these fractions of the blocks of these names, and all of the others."""
        ...

    def check(self, limits: Mapping[str, float], /) -> None:
        """Raise OutOfReach if no candidate meets `limits`."""
        ...


class Repairing(Sampled, Protocol):
    """A space that brings what is over the limits inside them."""

    def cross(
        self, first: Candidate, second: Candidate, rng: np.random.Generator, /, *, limits: Mapping[str, float]
    ) -> Candidate:
        """Return a candidate with each gene from one of the two, made narrower where it is over `limits`."""
        ...
