"""What a run shows while it works: a live bar in a terminal, plain lines anywhere else.

Lines in a log are few: one for each stage and each epoch, and for the search one whenever 5 seconds have passed or
a tenth of it is done. They hold no control characters, whatever the names and errors hold.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bars
from rich.text import Text

from evaluators.proxies.by_name import METRICS
from evaluators.result import Result, Status
from leaderboards.watcher import Watcher
from leaderboards.wording import number, one_line

EVERY_SECONDS = 5.0
EVERY_SHARE = 0.1


class Progress(Watcher):
    """Callbacks of a run that write to `console`; use it as a context manager.

    Args:
        n_candidates: how many the search will have measured at its end; None if it decides that on its way.
        known: those of them that are in the journal already.
        proxy_name: the metric that the search ranks by.
        clock: seconds that only go up.
    """

    def __init__(
        self,
        console: Console,
        *,
        n_candidates: int | None,
        proxy_name: str,
        known: Sequence[Result] = (),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._console = console
        self._proxy = METRICS[proxy_name]
        self._n_candidates, self._n_known = n_candidates, len(known)
        self._n_done = self._n_failed = 0
        self._best: float | None = None
        for result in known:
            self._count(result)
        self._clock = clock
        self._started: float | None = None
        self._last_line, self._last_share = clock(), self._share()
        self._bars = Bars(
            TextColumn("search"), BarColumn(bar_width=24), MofNCompleteColumn(), TimeElapsedColumn(),
            TextColumn("{task.description}", markup=False),
            console=console, transient=True, disable=not console.is_terminal,
        )  # fmt: skip
        self._task: TaskID | None = None

    def __enter__(self) -> Self:
        self._bars.start()
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self._close_bar()
        self._bars.stop()

    def stage(self, text: str, /) -> None:
        """Say what begins: the analysis, the search, the fine-tuning, the measurements."""
        self._close_bar()
        self._line(text, style="bold")
        self._started = self._clock()

    def on_result(self, result: Result, /) -> None:
        """Count one finished candidate of the search."""
        self._count(result)
        if self._console.is_terminal:
            self._show_bar()
        elif self._is_due():
            of_all = "" if self._n_candidates is None else f"/{self._n_candidates}"
            self._line(f"  {self._n_done}{of_all}, {self._summary()}")

    def on_epoch(self, name: str, readings: Mapping[str, float], /) -> None:
        """Show the readings of one finished epoch of the entry `name`; `epoch` counts from 1."""
        rest = (f"{reading} {number(value)}" for reading, value in readings.items() if reading != "epoch")
        self._line(", ".join((f"  {name}", f"epoch {readings['epoch']:.0f}", *rest)))

    def _count(self, result: Result) -> None:
        self._n_done += 1
        self._n_failed += result.status is Status.FAILED
        value = result.readings.get(self._proxy.name)
        if result.status is Status.DONE and value is not None:
            known = value if self._best is None else self._best
            self._best = min(value, known, key=self._proxy.loss)

    def _share(self) -> float:
        return 0.0 if self._n_candidates is None else self._n_done / max(self._n_candidates, 1)

    def _summary(self) -> str:
        """Return the rate, the best proxy and the failures of the search."""
        seconds = self._clock() - (self._clock() if self._started is None else self._started)
        n_new = self._n_done - self._n_known
        parts = [f"{60 * n_new / seconds:.1f} a minute"] if seconds > 0 else []
        if self._best is not None:
            parts.append(f"best {self._proxy.title} {self._best:.3f}")
        return ", ".join([*parts, f"{self._n_failed} failed"])

    def _is_due(self) -> bool:
        """Return whether a line is due now, and if so take note of it."""
        now, share = self._clock(), self._share()
        is_last = self._n_done == self._n_candidates
        is_due = is_last or now - self._last_line >= EVERY_SECONDS or share - self._last_share >= EVERY_SHARE
        if is_due:
            self._last_line, self._last_share = now, share
        return is_due

    def _show_bar(self) -> None:
        if self._task is None:
            self._task = self._bars.add_task("", total=self._n_candidates)
        self._bars.update(self._task, completed=self._n_done, description=self._summary())

    def _close_bar(self) -> None:
        """Turn the bar, if there is one, into a line that stays."""
        if self._task is not None:
            self._bars.remove_task(self._task)
            self._bars.refresh()
            self._task = None
            of_all = "" if self._n_candidates is None else f"/{self._n_candidates}"
            self._line(f"  {self._n_done}{of_all}, {self._summary()}")

    def _line(self, text: str, *, style: str = "") -> None:
        clean = f"{' ' * (len(text) - len(text.lstrip()))}{one_line(text)}"
        self._console.print(Text(clean, style), soft_wrap=True, highlight=False)
