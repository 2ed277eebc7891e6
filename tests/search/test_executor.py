import errno
import math

import pytest

from evaluators.result import Job, Result, Status
from search.executor import Executor, InProcess, guarded
from spaces.candidate import Candidate
from spaces.errors import Interrupted
from tests.contracts import ExecutorContract
from tests.search.toy import measure

JOB = Job(7, Candidate("same", (("g0", 1),)))


class TestInProcess(ExecutorContract):
    def make(self) -> Executor:
        return InProcess(measure)


def raising(error: Exception) -> Result:
    def fail(_: Job) -> Result:
        raise error

    return guarded(fail, JOB)


def test_error_becomes_a_failed_result_with_its_text() -> None:
    result = raising(ValueError("bad"))
    assert (result.number, result.candidate, result.status, result.error) == (*JOB, Status.FAILED, "ValueError: bad")


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_reading_that_is_not_finite_fails_as_nan(value: float) -> None:
    result = guarded(lambda job: Result(*job, Status.DONE, {"loss": value}, 0.0), JOB)
    assert result.status is Status.FAILED and result.error.startswith("NAN: ")


def test_floating_point_error_fails_as_nan() -> None:
    assert raising(FloatingPointError("loss")).error == "NAN: loss"


def test_ctrl_c_is_no_failed_candidate() -> None:
    def interrupt(_: Job) -> Result:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        guarded(interrupt, JOB)


def test_a_full_disk_is_no_fault_of_the_candidate_and_ends_the_run() -> None:
    def fail(_: Job) -> Result:
        raise OSError(errno.ENOSPC, "No space left on device", "/tmp/a.onnx")

    with pytest.raises(Interrupted, match=r"disk full: candidate 7: .*/tmp/a\.onnx.*run it again"):
        list(InProcess(fail).run([JOB]))
