from collections.abc import Mapping, Sequence
from pathlib import Path

from leaderboards.leaderboard import Leaderboard
from leaderboards.trackers.recorder import Recorder
from leaderboards.trackers.store import setting_text
from tests.leaderboards.trackers.play import SMALL, board, facts, play_first_call, play_second_call


class Memory:
    """A store that keeps what is written as it is."""

    def __init__(self) -> None:
        self.settings: dict[str, object] = {}
        self.numbers: list[tuple[str, float, int | None]] = []
        self.texts: list[tuple[str, str]] = []
        self.files: list[str] | None = None

    def write_settings(self, settings: Mapping[str, object], /) -> None:
        self.settings |= settings

    def write_numbers(self, group: str, numbers: Mapping[str, float], /, *, step: int | None) -> None:
        self.numbers += [(f"{group}/{name}", value, step) for name, value in numbers.items()]

    def write_text(self, name: str, text: str, /) -> None:
        self.texts.append((name, text))

    def finish(self, files: Sequence[Path], /) -> None:
        self.files = [path.name for path in files]


def test_candidates_have_their_numbers_and_failures_are_counted_over_all_calls(tmp_path: Path) -> None:
    store = Memory()
    play_first_call([Recorder(store, facts(tmp_path))])
    assert store.numbers == [("search/loss", 2.5, 0), ("search/macs_g", 2.0, 0), ("search/n_failed", 1.0, 1)]
    play_second_call([Recorder(store, facts(tmp_path, n_failed=1))], tmp_path)
    assert ("search/loss", 1.5, 2) in store.numbers
    assert ("search/n_failed", 2.0, 3) in store.numbers


def test_epochs_rows_and_the_best_row_are_kept_under_plain_names(tmp_path: Path) -> None:
    store = Memory()
    play_second_call([Recorder(store, facts(tmp_path))], tmp_path)
    assert (f"{SMALL.id}/loss", 1.5, 2) in store.numbers
    assert (f"{SMALL.id}/lr_1", 0.5, 1) in store.numbers
    assert (f"rows/{SMALL.id}/latency_ms", 8.0, None) in store.numbers
    assert ("rows/parent/map50_95", 0.5, None) in store.numbers
    assert ("best/map50_95", 0.4, None) in store.numbers  # the parent's 0.5 is no row's
    assert store.texts == [
        ("stage", "fine-tuning 2 rows"),
        ("rows/bad__row_/error", "RuntimeError: export broke"),
        ("best/row", SMALL.id),
    ]
    assert store.files == ["leaderboard.csv", "report.html"]


def test_without_a_row_within_the_limits_there_is_no_best_one(tmp_path: Path) -> None:
    store = Memory()
    Recorder(store, facts(tmp_path)).on_end(Leaderboard(board().entries, {"size_mb": 1.0}))
    assert store.numbers == []
    assert store.texts == [("best/row", "none is within the limits")]
    assert store.files == []


def test_settings_read_as_on_the_command_line() -> None:
    assert [setting_text(value) for value in ([8, 4], (), "60%", None, 0.5)] == ["8,4", "", "60%", "None", "0.5"]
