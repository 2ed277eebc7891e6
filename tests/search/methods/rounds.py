"""One round of a method on the chain of three convolutions: blocks of 6 and 5 channels, and losses made up for them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from evaluators.metric import LOSS, MACS
from evaluators.result import Result, Status
from search.methods.rounds import Round
from spaces.candidate import Candidate
from spaces.space import Keep, Space
from tests.spaces.chain import chain_graph


def chain_space() -> Space:
    """Return every width of the two blocks; a layer has 64 places, the kernels 9, 1 and 1 weights."""
    return Space(chain_graph(), align=1, keep_min=0.01)


def macs(keep: Keep) -> float:
    """Return the MACs of a row of keep counts (first, second), naively: 64 * (3 * 9 * a + a * b + 4 * b)."""
    first, second = (int(count) for count in keep)
    return float(64 * (27 * first + first * second + 4 * second))


@dataclass
class Measured:
    """Gives readings, and remembers for which candidates."""

    read: Callable[[Keep], Mapping[str, float]]
    asked: list[tuple[int, ...]] = field(default_factory=list)

    def __call__(self, candidates: Sequence[Candidate], /) -> list[Result]:
        space, results = chain_space(), []
        for candidate in candidates:
            keep = space.decode(candidate)
            self.asked.append(tuple(int(count) for count in keep))
            readings = {**space.costs(candidate), **self.read(keep)}
            results.append(Result(len(self.asked) - 1, candidate, Status.DONE, readings, 0.0))
        return results


def chain_round(
    measure: Measured,
    *,
    scores: tuple[Sequence[Sequence[float]], ...] = (((0.0,) * 6,), ((0.0,) * 5,)),
    limit: float = macs(np.array([6, 5])),
    shares: tuple[float, ...] = (1.0,),
    is_last: bool = True,
) -> Round:
    """Return the last round under a limit of so many MACs."""
    space = chain_space()
    return Round(
        space,
        tuple(np.array(block) for block in scores),
        lambda keep: space.uses(keep, {MACS.name: limit / 1e9}),
        shares,
        is_last,
        measure,
        LOSS,
    )
