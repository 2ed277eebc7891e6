import io
from dataclasses import dataclass

from rich.console import Console

from evaluators.result import Result, Status
from leaderboards.runs.progress import Progress
from spaces.candidate import Candidate


@dataclass
class Clock:
    """Time that passes when told."""

    now: float = 0.0

    def __call__(self) -> float:
        return self.now


def result(number: int, *, loss: float | None) -> Result:
    """Return a measured result, or a failed one if there is no `loss`."""
    status = Status.FAILED if loss is None else Status.DONE
    readings = {} if loss is None else {"loss": loss}
    return Result(number, Candidate("same", ()), status, readings, 1.0, "E: \x1b[31m" if loss is None else "")


def test_a_log_gets_a_line_when_a_tenth_is_done_or_five_seconds_have_passed() -> None:
    file, clock = io.StringIO(), Clock()
    with Progress(Console(file=file), n_candidates=100, proxy_name="loss", clock=clock) as progress:
        progress.stage("search")
        for number in range(10):
            progress.on_result(result(number, loss=5.0 - number / 10))
        assert file.getvalue().count("\n") == 2  # the stage, and 10/100
        clock.now = 5.0
        progress.on_result(result(10, loss=None))
    lines = file.getvalue().splitlines()
    assert [line.split()[0] for line in lines] == ["search", "10/100,", "11/100,"]
    assert "132.0 a minute, best task loss 4.100, 1 failed" in lines[-1]  # 11 in 5 s; 5 - 0.9


def test_the_last_candidate_always_has_its_line() -> None:
    file = io.StringIO()
    with Progress(Console(file=file), n_candidates=1, proxy_name="loss", clock=Clock()) as progress:
        progress.on_result(result(0, loss=1.0))
    assert "1/1" in file.getvalue()


def test_a_search_that_decides_how_many_it_measures_counts_alone() -> None:
    file, clock = io.StringIO(), Clock()
    with Progress(Console(file=file), n_candidates=None, proxy_name="loss", clock=clock) as progress:
        progress.on_result(result(0, loss=1.0))
        clock.now = 5.0
        progress.on_result(result(1, loss=2.0))
    (line,) = file.getvalue().splitlines()
    assert line.startswith("  2, ")


def test_a_resumed_search_counts_and_remembers_what_is_known_but_not_in_its_rate() -> None:
    file, clock = io.StringIO(), Clock()
    known = [result(number, loss=2.0) for number in range(9)]
    with Progress(Console(file=file), n_candidates=10, proxy_name="loss", known=known, clock=clock) as progress:
        progress.stage("search")
        clock.now = 60.0
        progress.on_result(result(9, loss=3.0))
    assert "10/10, 1.0 a minute, best task loss 2.000" in file.getvalue()


def test_an_epoch_is_one_plain_line_whatever_the_name() -> None:
    file = io.StringIO()
    with Progress(Console(file=file), n_candidates=1, proxy_name="loss") as progress:
        progress.on_epoch("a\x1b[2Jb[red]\n", {"epoch": 3.0, "loss": 1.2345, "seconds": 12.0})
    assert file.getvalue() == "  a [2Jb[red] , epoch 3, loss 1.23, seconds 12.0\n"


def test_a_terminal_gets_one_bar_that_leaves_a_line_behind() -> None:
    file = io.StringIO()
    console = Console(file=file, force_terminal=True, width=100)
    with Progress(console, n_candidates=4, proxy_name="map50_95") as progress:
        progress.stage("search")
        for number in range(4):
            progress.on_result(Result(number, Candidate("same", ()), Status.DONE, {"map50_95": 0.1 * number}, 1.0))
        progress.stage("fine-tune")
    text = file.getvalue()
    assert "4/4" in text
    assert "best mAP50-95 0.300, 0 failed" in text
    assert text.index("best mAP50-95 0.300") < text.index("fine-tune")
