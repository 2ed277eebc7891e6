"""What every implementation of a Protocol has to do; its tests subclass the contract and make one."""

from abc import ABC, abstractmethod

from evaluators.result import Result, Status
from search.executor import Executor, Job
from search.loop import rng_for
from search.strategy import Strategy
from spaces.candidate import Candidate


class StrategyContract(ABC):
    """For strategies over the toy space with macs_g <= 20; `measure` gives their results."""

    @abstractmethod
    def make(self) -> Strategy: ...

    @abstractmethod
    def measure(self, job: Job) -> Result: ...

    def play(self, n: int, seed: int = 0) -> list[Result]:
        strategy, results = self.make(), list[Result]()
        while len(results) < n:
            numbers = range(len(results), min(len(results) + strategy.generation, n))
            jobs = [Job(number, strategy.ask(rng_for(seed, number))) for number in numbers]
            strategy.tell(generation := [self.measure(job) for job in jobs])
            results += generation
        return results

    def test_same_seed_proposes_the_same(self) -> None:
        assert self.play(60) == self.play(60)

    def test_other_seed_proposes_others(self) -> None:
        assert self.play(20) != self.play(20, seed=1)

    def test_no_candidate_is_proposed_twice(self) -> None:
        assert len({result.candidate for result in self.play(60)}) == 60

    def test_proposals_are_inside_the_limits(self) -> None:
        assert all(result.readings["macs_g"] <= 20 for result in self.play(60))

    def test_generation_of_failures_is_survived(self) -> None:
        strategy = self.make()
        jobs = [Job(number, strategy.ask(rng_for(0, number))) for number in range(10)]
        strategy.tell([Result(*job, Status.FAILED, {}, 0.0, "E: no") for job in jobs])
        assert strategy.ask(rng_for(0, 10)) not in {job.candidate for job in jobs}


class ExecutorContract(ABC):
    """For executors whose measure returns DONE."""

    @abstractmethod
    def make(self) -> Executor: ...

    def test_every_job_gets_one_result(self) -> None:
        executor = self.make()
        jobs = [Job(number, Candidate("same", (("g0", number), ("g1", 1)))) for number in range(10)]
        try:
            for part in (jobs[:7], [], jobs[7:]):
                results = sorted(executor.run(part), key=lambda result: result.number)
                assert [(result.number, result.candidate) for result in results] == part
                assert all(result.status is Status.DONE for result in results)
        finally:
            executor.close()
