"""The one interface of every search strategy, and what one is made for."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from evaluators.budget import Budget
from evaluators.metric import Metric
from evaluators.result import Result
from spaces.candidate import Candidate
from spaces.searchable import BaseSpace, SearchSpace


@dataclass(frozen=True, eq=False)
class SearchSetup:
    """What a strategy is made for.

    Attributes:
        space: what it proposes from.
        bases: the parts of that space, one for each base.
        limits: on the space's own costs, which every proposal meets.
        objectives: what is traded off; every DONE result has their readings.
        budget: all limits, also on what is measured.
        spread: the lowest budget of a proposal as a fraction of the limits, where a whole front is searched for.
        fixed: candidates of a control, which are measured as they are.
    """

    space: SearchSpace
    bases: Mapping[str, BaseSpace]
    limits: Mapping[str, float]
    objectives: tuple[Metric, ...]
    budget: Budget
    spread: float
    fixed: tuple[Candidate, ...] = ()


class Strategy(Protocol):
    """Proposes candidates and learns from results. Owns no randomness, starts no work, builds nothing.

    Proposals come in generations: within one, no proposal depends on another's result, so a generation is
    measured in any order by any number of workers and the next one is still the same.
    """

    @property
    def generation(self) -> int:
        """How many candidates are proposed before the next call of `tell`."""
        ...

    def ask(self, rng: np.random.Generator, /) -> Candidate:
        """Return the next candidate; all chance comes from `rng`."""
        ...

    def tell(self, results: Sequence[Result], /) -> None:
        """Take in the results of a whole generation, in the order of proposal."""
        ...
