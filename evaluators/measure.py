"""One candidate from proposal to result: the free readings first, then the budget gate, then the dear ones."""

import time
from collections.abc import Callable

from evaluators.budget import Budget
from evaluators.result import Job, Result, Status
from spaces.build import Subnet
from spaces.candidate import Candidate

Evaluator = Callable[[Subnet], dict[str, float]]
"""Measures one candidate, built as far as it asks, and leaves it as it was; the readings are by metric name."""


class GatedMeasure:
    """What a worker does with each job.

    Args:
        costs: the free readings of a candidate.
        build: gives what can be built of a candidate; nothing is before an evaluator asks for it.
        gates: evaluators whose readings may break the budget, cheapest first.
        evaluators: those of the candidates that are within it.
    """

    def __init__(
        self,
        costs: Callable[[Candidate], dict[str, float]],
        build: Callable[[Candidate], Subnet],
        *,
        budget: Budget,
        gates: tuple[Evaluator, ...],
        evaluators: tuple[Evaluator, ...],
    ) -> None:
        self._costs = costs
        self._build = build
        self._budget = budget
        self._gates = gates
        self._evaluators = evaluators

    def __call__(self, job: Job, /) -> Result:
        """Return the result of `job`.

        Raises:
            ValueError: an evaluator returned a reading that is not finite.
        """
        number, candidate = job
        started = time.monotonic()
        readings = self._costs(candidate)
        over = self._budget.violations(readings)
        subnet = self._build(candidate)
        for stage in (self._gates, self._evaluators):
            for evaluate in stage if not over else ():
                readings |= evaluate(subnet)
            over = self._budget.violations(readings)
        status = Status.OVER_BUDGET if over else Status.DONE
        return Result(number, candidate, status, readings, time.monotonic() - started, ", ".join(over))
