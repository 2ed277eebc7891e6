"""PAGCP: layers are cut one after another, each as far as the most damaged of the tasks allows.

Source: Ye 2023, Performance-aware approximation of global channel pruning for multitask CNNs (arXiv:2303.11923), and
its published code, which measures on the sealed split, never applies a cut that survives all its steps to the running
model, and knows no budget. Here the losses are of the hold-out, such a cut is applied, and pruning ends at the limits.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from evaluators.metric import LOSS, MACS, TASK_LOSSES
from evaluators.result import Result, Status
from search.methods.rounds import Round, option_at_least
from spaces.space import Keep

PROBED = 0.3  # of a block's channels are taken away to see what that saves
STEP = 0.05  # of a block's channels
N_STEPS = 19
AHEAD = 2  # steps that are measured together: two workers are busy, and one measurement at most is in vain
N_PASSES = 12  # of a round, each with twice the allowance; at the last one everything is allowed


@dataclass(frozen=True)
class Allowance:
    """How much the losses may rise.

    Attributes:
        first: by what fraction of a task's loss at the first block.
        growth: to what multiple the loss would grow if every block used up its own.
        kept: the share of the cuts that are applied, those that save the most for what they cost.
    """

    first: float = 0.06
    growth: float = 6.0
    kept: float = 0.8


@dataclass(frozen=True)
class Cut:
    """What the pass found out about one block: the keep count, and the rise of the loss for each saved GMAC."""

    index: int
    count: int
    price: float


def compress(around: Round, /) -> list[Result]:
    """Return the result of the network that passes over the blocks lead to.

    In the last round a pass that ends above the limits is followed by one with twice the allowance, from where it
    ended, as the slopes of the published code do from round to round.
    """
    keep, allowance, target = around.whole(), Allowance(), around.targets[0]
    for _ in range(N_PASSES if around.is_last else 1):
        cuts = find_cuts(around, keep, allowance)
        keep = apply_cuts(around, keep, cuts, n_kept=math.ceil(allowance.kept * len(cuts)))
        if around.use(keep) <= target:
            break
        allowance = replace(allowance, first=2 * allowance.first, growth=2 * allowance.growth)
    return around.measure([around.space.encode(keep)])


def decay(n_blocks: int, /, *, allowance: Allowance) -> float:
    """Return lambda, by which the allowance changes from block to block: prod(1 + first * lambda ** i) = growth."""

    def grown(factor: float) -> float:
        return sum(math.log1p(allowance.first * factor**index) for index in range(n_blocks))

    wanted, low, high = math.log(allowance.growth), 0.0, 1.0
    while grown(high) < wanted:  # few blocks: each may lose more than the one before
        high *= 2
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if grown(middle) < wanted else (low, middle)
    return (low + high) / 2


def order(around: Round, keep: Keep, /, *, is_rising: bool) -> list[int]:
    """Return the blocks that can be narrower by the MACs that losing 30 % of the channels saves, most first."""
    macs = around.space.population_costs
    rows = np.stack([_with(keep, index, _below(around, keep, index, PROBED)) for index in range(len(keep))])
    saved = macs(keep[None])[MACS.name][0] - macs(rows)[MACS.name]
    ranked = np.argsort(saved if is_rising else -saved, kind="stable")
    return [int(index) for index in ranked if rows[index, index] < keep[index]]


def find_cuts(around: Round, keep: Keep, allowance: Allowance, /) -> list[Cut]:
    """Return the cuts that one pass over the blocks of `keep` accepts, in the order in which it made them."""
    factor = decay(len(keep), allowance=allowance)
    cuts: list[Cut] = []
    allowed, now = allowance.first, keep
    before = around.measure([around.space.encode(keep)])[0]
    reference = tasks(before)
    for index in order(around, keep, is_rising=factor > 1):
        accepted = _narrow(around, now, index, is_within(reference, allowed))
        if accepted is None:
            continue
        count, result = accepted
        narrower = _with(now, index, count)
        rows = around.space.population_costs(np.stack([now, narrower]))[MACS.name]
        cuts.append(Cut(index, count, (result.readings[LOSS.name] - before.readings[LOSS.name]) / (rows[0] - rows[1])))
        now, before, allowed = narrower, result, allowed * factor
        reference = np.maximum(reference, tasks(result))
    return cuts


def is_within(reference: NDArray[np.float64], allowed: float, /) -> Callable[[Result], bool]:
    """Return whether no task of a result has lost more than the fraction `allowed` of its `reference`."""
    return lambda result: result.status is Status.DONE and bool((tasks(result) <= (1 + allowed) * reference).all())


def apply_cuts(around: Round, keep: Keep, cuts: Sequence[Cut], /, *, n_kept: int) -> Keep:
    """Return `keep` with the `n_kept` cuts of the lowest price, as far as the target asks for; the last one in part."""
    for cut in sorted(cuts, key=lambda cut: cut.price)[:n_kept]:
        for option in reversed(around.space.genes[cut.index].options):
            if around.use(keep) <= around.targets[0]:
                return keep
            if cut.count <= option < keep[cut.index]:
                keep = _with(keep, cut.index, option)
    return keep


def tasks(result: Result, /) -> NDArray[np.float64]:
    """Return the losses of the tasks, (3,)."""
    return np.array([result.readings[part] for part in TASK_LOSSES])


def _narrow(around: Round, keep: Keep, index: int, is_allowed: Callable[[Result], bool]) -> tuple[int, Result] | None:
    """Return the narrowest width of block `index` before the first that is not allowed; None if the first is not."""
    counts = [_below(around, keep, index, STEP * step) for step in range(1, N_STEPS + 1)]
    steps = [count for count in dict.fromkeys(counts) if count < keep[index]]
    accepted = None
    for start in range(0, len(steps), AHEAD):
        ahead = steps[start : start + AHEAD]
        results = around.measure([around.space.encode(_with(keep, index, count)) for count in ahead])
        for count, result in zip(ahead, results, strict=True):
            if not is_allowed(result):
                return accepted
            accepted = count, result
    return accepted


def _below(around: Round, keep: Keep, index: int, share: float) -> int:
    """Return the width of block `index` without `share` of the channels that `keep` has, rounded up."""
    return option_at_least(around.space, index, round((1 - share) * keep[index], 6))


def _with(keep: Keep, index: int, count: int) -> Keep:
    narrower = keep.copy()
    narrower[index] = count
    return narrower
