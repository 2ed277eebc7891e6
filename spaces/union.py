"""Several bases as one space: a candidate's base says which, and breeding may move it from one to another."""

from collections.abc import Mapping, Sequence

import numpy as np

from spaces.candidate import Candidate
from spaces.errors import OutOfReach
from spaces.searchable import BaseSpace

SWITCHED = 0.15  # of the mutants move to another base, with what they keep of the blocks that it has too


class Union:
    """The sub-networks of all bases.

    Args:
        spaces: by base; "same" is among them.
    """

    def __init__(self, spaces: Mapping[str, BaseSpace]) -> None:
        self._spaces = spaces
        self._chances: Mapping[str, float] = {}

    def favour(self, chances: Mapping[str, float], /) -> None:
        """Draw from each base as often as its chance says, in (0, 1]; those that are not named have 1.0."""
        self._chances = chances

    def check(self, limits: Mapping[str, float], /) -> None:
        """Raise OutOfReach if no candidate of any base meets `limits`; the message gives the interval of the last."""
        self._reaching(limits)

    def sample(self, rng: np.random.Generator, /, *, limits: Mapping[str, float], diversity: float = 1.0) -> Candidate:
        """Return a draw from one of the bases that can meet `limits`, each as likely as its chance says.

        Raises:
            OutOfReach: none can; the message gives the interval of the smallest.
        """
        names = self._reaching(limits)
        return self._spaces[self._chosen(names, rng)].sample(rng, limits=limits, diversity=diversity)

    def mutate(self, candidate: Candidate, rng: np.random.Generator, /, *, limits: Mapping[str, float]) -> Candidate:
        """Return a mutant of `candidate`, now and then in another base: in one of less chance the more rarely."""
        others = [name for name in self._reaching(limits) if name != candidate.base]
        if others and rng.random() < SWITCHED:
            other = others[int(rng.integers(len(others)))]
            if rng.random() * self._chance(candidate.base) < self._chance(other):
                return self._moved(candidate, other, rng, limits)
        return self._spaces[candidate.base].mutate(candidate, rng, limits=limits)

    def cross(
        self, first: Candidate, second: Candidate, rng: np.random.Generator, /, *, limits: Mapping[str, float]
    ) -> Candidate:
        """Return a child in the base of one of the two."""
        if first.base != second.base:
            first, second = (first, second) if rng.random() < 0.5 else (second, first)
            second = self._moved(second, first.base, rng, limits)
        return self._spaces[first.base].cross(first, second, rng, limits=limits)

    def fill(self, candidate: Candidate, rng: np.random.Generator, /, *, limits: Mapping[str, float]) -> Candidate:
        """Return `candidate` widened until the tightest limit is used up."""
        return self._spaces[candidate.base].fill(candidate, rng, limits=limits)

    def _moved(
        self, candidate: Candidate, base: str, rng: np.random.Generator, limits: Mapping[str, float]
    ) -> Candidate:
        shares = self._spaces[candidate.base].shares(candidate)
        return self._spaces[base].fill(self._spaces[base].adopt(shares), rng, limits=limits)

    def _chosen(self, names: Sequence[str], rng: np.random.Generator) -> str:
        if len(names) == 1:
            return names[0]
        chances = np.array([self._chance(name) for name in names])
        return names[int(rng.choice(len(names), p=chances / chances.sum()))]

    def _chance(self, name: str) -> float:
        return self._chances.get(name, 1.0)

    def _reaching(self, limits: Mapping[str, float]) -> list[str]:
        refusals: list[OutOfReach] = []
        names = []
        for name, space in self._spaces.items():
            try:
                space.check(limits)
                names.append(name)
            except OutOfReach as error:
                refusals.append(error)
        if not names:
            raise refusals[-1]
        return names
