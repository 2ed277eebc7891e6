"""NetAdapt: the budget shrinks in small steps, and each step narrows the one block that is missed the least.

Source: Yang 2018, NetAdapt: platform-aware neural network adaptation (arXiv:1804.03230), algorithm 1. The paper trains
every proposal of every step for a short while; here proposals are compared by the run's proxy as they are built, and
what a round of steps has led to is trained.
"""

import math

from evaluators.result import Result, Status
from search.methods.rounds import Round
from spaces.errors import NothingFeasible
from spaces.space import Keep

FIRST_STEP = 0.03  # of the costs that the round starts from, at most
DECAY = 0.98  # of each step's saving against the one before


def adapt(around: Round, /) -> list[Result]:
    """Return the result of the network that the steps of the round lead to.

    Raises:
        NothingFeasible: every proposal of a step failed.
    """
    keep = around.whole()
    best: list[Result] = []
    for wanted in schedule(around.use(keep), around.targets[0]):
        while around.use(keep) > wanted and (proposals := propose(around, keep, wanted=wanted)):
            results = around.measure([around.space.encode(each) for each in proposals])
            best = [_best(around, results)]
            keep = around.space.decode(best[0].candidate)
    return best or around.measure([around.space.encode(keep)])


def schedule(start: float, target: float, /) -> list[float]:
    """Return the use that each step may leave, from below `start` down to `target`; empty if that is met already.

    Savings shrink by 2 % from step to step and add up exactly; the number of steps is the smallest whose first saving
    is at most 3 % of `start`, as far as shrinking savings reach.
    """
    total = start - target
    if total <= 0:
        return []
    share = 1 - total / (FIRST_STEP * start) * (1 - DECAY)  # DECAY ** n_steps of a first step of exactly 3 %
    n_steps = max(1, math.ceil(math.log(share) / math.log(DECAY) - 1e-9)) if share > 0 else 1
    first = total * (1 - DECAY) / (1 - DECAY**n_steps)
    return [start - first * (1 - DECAY**step) / (1 - DECAY) for step in range(1, n_steps)] + [target]


def propose(around: Round, keep: Keep, /, *, wanted: float) -> list[Keep]:
    """Return `keep` with one block narrowed as little as `wanted` asks for, for each block that can.

    If no block alone can save so much, the one that can save the most gives all it can; none if nothing is left.
    """
    narrowed = [_narrowings(around, keep, index) for index in range(len(keep))]
    found = [next((row for row in rows if around.use(row) <= wanted), None) for rows in narrowed]
    proposals = [row for row in found if row is not None]
    furthest = [rows[-1] for rows in narrowed if rows]
    return proposals or sorted(furthest, key=around.use)[:1]


def _narrowings(around: Round, keep: Keep, index: int) -> list[Keep]:
    """Return `keep` with block `index` at each of its smaller options, the widest first."""
    rows = []
    for option in reversed(around.space.genes[index].options):
        if option < keep[index]:
            row = keep.copy()
            row[index] = option
            rows.append(row)
    return rows


def _best(around: Round, results: list[Result]) -> Result:
    done = [result for result in results if result.status is Status.DONE]
    if not done:
        raise NothingFeasible(f"all {len(results)} proposals of a step failed, the first with: {results[0].error}")
    return min(done, key=lambda result: around.metric.loss(result.readings[around.metric.name]))
