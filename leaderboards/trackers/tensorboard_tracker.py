"""TensorBoard: event files in the run folder, as torch writes them."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from torch.utils.tensorboard import SummaryWriter

from leaderboards.trackers.recorder import Recorder
from leaderboards.trackers.store import setting_text
from leaderboards.trackers.tracker import RunFacts
from leaderboards.watcher import Watcher

FOLDER = "tensorboard"


class TensorboardStore:
    """The event files of one run; a resumed one adds a file, and TensorBoard shows them as one."""

    def __init__(self, writer: SummaryWriter, /) -> None:
        self._writer, self._n_texts = writer, 0

    def write_settings(self, settings: Mapping[str, object], /) -> None:
        """Write them as a table in Markdown."""
        cells = {name: setting_text(value).replace("|", r"\|") for name, value in settings.items()}
        rows = [f"| {name} | {value} |" for name, value in cells.items()]
        self._writer.add_text("settings", "\n".join(["| key | value |", "| --- | --- |", *rows]))
        self._writer.flush()

    def write_numbers(self, group: str, numbers: Mapping[str, float], /, *, step: int | None) -> None:
        """Write them as scalars, final ones at step 0."""
        for name, value in numbers.items():
            self._writer.add_scalar(f"{group}/{name}", value, step or 0)
        self._writer.flush()  # a run that is stopped tells nobody

    def write_text(self, name: str, text: str, /) -> None:
        """Write it after the texts before."""
        self._writer.add_text(name, text, self._n_texts)
        self._writer.flush()
        self._n_texts += 1

    def finish(self, _: Sequence[Path], /) -> None:
        """Close the event file; TensorBoard takes no others."""
        self._writer.close()


def open_tracker(facts: RunFacts, /) -> Watcher:
    """Return what writes event files below the run folder."""
    return Recorder(TensorboardStore(SummaryWriter(str(facts.folder / FOLDER))), facts)
