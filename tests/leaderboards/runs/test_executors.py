import pytest

from evaluators.result import Job, Result, Status
from leaderboards.recipes.parts import Place
from leaderboards.recipes.reading import read_recipe
from leaderboards.runs.executors import idle_executor, start_executor
from search.executor import InProcess
from spaces.candidate import Candidate

JOB = Job(3, Candidate("same", ()))


def place(*words: str) -> Place:
    return read_recipe(words).parts().place


def measure(job: Job) -> Result:
    return Result(job.number, job.candidate, Status.DONE, {"map50_95": 0.5}, 0.0)


@pytest.mark.parametrize(("words", "here"), [(["workers=1"], True), (["workers=2"], False)])
def test_one_worker_without_a_cluster_is_this_process(words: list[str], here: bool) -> None:
    assert place(*words).is_here is here


def test_one_worker_of_a_cluster_is_another_process() -> None:
    assert not place("workers=1", "ray_address=head:6379").is_here


def test_a_worker_sees_only_the_device_that_ray_gave_it() -> None:
    assert place("device=2", "workers=1").measuring_device == "cuda:2"
    assert place("device=2", "workers=2").measuring_device == "cuda:0"


def test_here_measures_are_made_at_once() -> None:
    executor = start_executor(place("workers=1"), lambda: measure)
    assert isinstance(executor, InProcess)
    assert list(executor.run([JOB])) == [measure(JOB)]


def test_what_is_idle_refuses_what_is_left_and_yields_nothing_of_nothing() -> None:
    executor = idle_executor()
    assert list(executor.run([])) == []
    (result,) = executor.run([JOB])
    assert result.status is Status.FAILED
    assert "nothing is left to measure" in str(result.error)
