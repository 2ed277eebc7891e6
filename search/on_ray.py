"""Candidates on Ray: long-lived actors, each a process of its own.

A candidate takes a second, a Tune trial costs 0.35 to 4 s before it starts: candidates go to actors. Ray Tune places
and retries the fine-tuning of the front. Its own saved state is never read: restored after a kill it repeats trials,
and damaged it starts an empty experiment without an error. The journal and the tasks' checkpoints are the truth.
"""

import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence

import ray
from ray.actor import ActorHandle
from ray.exceptions import GetTimeoutError, RayError, RayTaskError

from evaluators.result import Job, Measure, Result
from search.executor import checked, failed, guarded
from search.ray_session import check_alive, text_of
from spaces.errors import BadInput

RETRIES = 2  # of a candidate whose worker died
READY_S = 300.0  # for a worker to start and make its measure


class RayExecutor:
    """Measures candidates in long-lived worker processes of one thread each, inside `ray_session.running`.

    A worker that dies is replaced and its candidate tried again, at most twice; one that is over the deadline is
    killed. Either way the search goes on.

    Args:
        make_measure: called once in each worker; bind its heavy data with `functools.partial`: they are put into the
            object store once, and numpy arrays are then shared by all workers of a node, read-only.
        deadline_s: the longest that one candidate may take.
        gpus: of each worker; a fraction shares one.

    Raises:
        BadInput: the cluster has too few CPUs or GPUs for the workers.
    """

    def __init__(
        self, make_measure: Callable[[], Measure], *, workers: int, deadline_s: float, gpus: float = 0
    ) -> None:
        _check_fits(workers, gpus)
        actor = ray.remote(num_cpus=1, num_gpus=gpus, max_restarts=0, max_task_retries=0)(_Worker)
        measure = ray.put(make_measure)
        self._slots = [_Slot(lambda: actor.remote(measure), deadline_s) for _ in range(workers)]
        self._waiting: deque[Job] = deque()
        self._deaths: Counter[Job | None] = Counter()  # None: of workers that were still starting

    def run(self, jobs: Sequence[Job], /) -> Iterator[Result]:
        """Yield one result for each job, in the order in which they end.

        Raises:
            BadInput: the workers cannot start. What `make_measure` raises comes through as it is.
            Interrupted: Ray is gone, or a disk is full.
        """
        self._waiting.extend(jobs)
        for _ in jobs:
            result = None
            while result is None:
                self._hand_out()
                result = self._outcome(self._next_ended())
            yield checked(result)

    def close(self) -> None:
        """End the workers."""
        for slot in self._slots:
            slot.kill()

    def _hand_out(self) -> None:
        for slot in self._slots:
            if slot.call is None and self._waiting:
                slot.begin(self._waiting.popleft())

    def _next_ended(self) -> "_Slot":
        """Return the slot whose call ends next, or the first to be over its time."""
        busy = [slot for slot in self._slots if slot.call is not None]
        first_over = min(busy, key=lambda slot: slot.left_s)
        ready, _ = ray.wait([slot.call for slot in busy], timeout=max(0.0, first_over.left_s))
        return next((slot for slot in busy if slot.call in ready), first_over)

    def _outcome(self, slot: "_Slot") -> Result | None:
        """Return what became of the slot's job, None if it had none or if it is to be tried again."""
        job, seconds = slot.job, slot.seconds
        try:
            result = slot.take()
            del self._deaths[job]
            return result
        except GetTimeoutError:
            error, is_last = f"TIMEOUT: not done after {seconds:.1f} s", True
        except RayError as raised:
            if job is None and isinstance(raised, RayTaskError):
                raise raised.cause from None
            check_alive()
            self._deaths[job] += 1
            error, is_last = text_of(raised), self._deaths[job] > RETRIES
        slot.kill()
        slot.prepare()
        if job is None:
            if is_last:
                raise BadInput(f"the workers cannot start, use fewer or give them more memory: {error}")
            return None
        if is_last:
            return failed(job, error, seconds=seconds)
        self._waiting.appendleft(job)
        return None


class _Worker:
    """Lives in a process of its own."""

    def __init__(self, make_measure: Callable[[], Measure]) -> None:
        self._make_measure = make_measure

    def prepare(self) -> None:
        self._measure = self._make_measure()

    def measure(self, job: Job) -> Result:
        return guarded(self._measure, job)


class _Slot:
    """A worker and its `call` in progress, None while it is idle; `job` is None for the first, its preparation."""

    def __init__(self, make_worker: Callable[[], ActorHandle], deadline_s: float) -> None:
        self._make_worker = make_worker
        self._deadline_s = deadline_s
        self.prepare()

    @property
    def seconds(self) -> float:
        return time.monotonic() - self._since

    @property
    def left_s(self) -> float:
        return (READY_S if self.job is None else self._deadline_s) - self.seconds

    def begin(self, job: Job) -> None:
        self.job: Job | None = job
        self._since = time.monotonic()
        self.call = self._worker.measure.remote(job)

    def take(self) -> Result | None:
        """Return what the call returned, without waiting, and be free for the next."""
        result: Result | None = ray.get(self.call, timeout=0)
        self.call = None
        return result

    def kill(self) -> None:
        ray.kill(self._worker)

    def prepare(self) -> None:
        """Start with a new worker."""
        self.job = None
        self._since = time.monotonic()
        self._worker = self._make_worker()
        self.call = self._worker.prepare.remote()


def _check_fits(workers: int, gpus: float) -> None:
    there = ray.cluster_resources()
    for kind, asked in (("CPU", workers), ("GPU", workers * gpus)):
        if asked > there.get(kind, 0):
            raise BadInput(f"workers={workers} need {asked:g} {kind}s, this Ray has {there.get(kind, 0):g}")
