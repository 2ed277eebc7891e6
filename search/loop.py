"""The search itself: ask, measure, write down, tell. The candidates depend on the seed and the results alone."""

import signal
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import FrameType

import numpy as np

from evaluators.result import Job, Result, Status
from search.executor import Executor
from search.journal import Journal
from search.strategy import Strategy
from spaces.errors import BadInput, Interrupted, NothingFeasible

PATIENCE = 20  # failures without a single other outcome, after which the search gives up


def search(
    strategy: Strategy,
    executor: Executor,
    journal: Journal,
    *,
    n_candidates: int,
    seed: int,
    on_result: Callable[[Result], None],
) -> list[Result]:
    """Return the results of `n_candidates` candidates in the order of their proposal.

    What the journal holds already is not measured again, so the same call resumes a search that was killed, and
    the candidates are the same for any number of workers and of kills. `on_result` gets each new result as it ends.

    Raises:
        BadInput: the journal holds other candidates than the ones proposed here.
        NothingFeasible: the first 20 candidates all failed; the message has the first error.
    """
    results: list[Result] = []
    while len(results) < n_candidates:
        numbers = range(len(results), min(len(results) + strategy.generation, n_candidates))
        jobs = [Job(number, strategy.ask(rng_for(seed, number))) for number in numbers]
        generation = measure_all(jobs, executor, journal, on_result=on_result)
        strategy.tell(generation)
        results += generation
    return results


def measure_all(
    jobs: Sequence[Job], executor: Executor, journal: Journal, /, *, on_result: Callable[[Result], None]
) -> list[Result]:
    """Return one result for each of `jobs`, in their order; what the journal holds already is not measured again.

    Raises:
        BadInput: the journal holds other candidates under these numbers.
        NothingFeasible: the journal holds 20 results and all of them failed.
    """
    _check_same(jobs, journal.results)
    for result in executor.run([job for job in jobs if job.number not in journal.results]):
        journal.append_result(result)
        on_result(result)
        _check_hope(journal.results)
    return [journal.results[job.number] for job in jobs]


def rng_for(seed: int, number: int, /) -> np.random.Generator:
    """Return the generator that proposal `number` draws from."""
    return np.random.default_rng([seed, number])


@contextmanager
def interruptible() -> Iterator[None]:
    """Turn SIGTERM and Ctrl-C inside the block into `Interrupted`; a second signal ends the process at once.

    The handler raises KeyboardInterrupt: it passes through every `except Exception` on its way, and it is the only
    exception that Ray's blocking calls let through (any other becomes a SystemError).

    Raises:
        Interrupted: a signal came. Everything in the journal is on disk.
    """
    signals = (signal.SIGTERM, signal.SIGINT)

    def stop(number: int, _frame: FrameType | None) -> None:
        for each in signals:
            signal.signal(each, signal.SIG_DFL)
        raise KeyboardInterrupt(signal.Signals(number).name)

    before = [signal.signal(each, stop) for each in signals]
    try:
        yield
    except KeyboardInterrupt as error:
        raise Interrupted(
            f"stopped by {str(error) or 'a signal'}; what is finished is kept, run it again to go on"
        ) from None
    finally:
        for each, handler in zip(signals, before, strict=True):
            signal.signal(each, handler)


def _check_same(jobs: Sequence[Job], known: Mapping[int, Result]) -> None:
    for number, candidate in jobs:
        if number in known and known[number].candidate.id != candidate.id:
            raise BadInput(
                f"the journal belongs to another search: its candidate {number} is {known[number].candidate.id}, "
                f"this search proposes {candidate.id}"
            )


def _check_hope(results: Mapping[int, Result]) -> None:
    if len(results) >= PATIENCE and all(result.status is Status.FAILED for result in results.values()):
        raise NothingFeasible(f"the first {len(results)} candidates all failed, number {min(results)} with: "
                              f"{results[min(results)].error}")  # fmt: skip
