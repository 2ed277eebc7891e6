from pathlib import Path

import pytest

import run_search
from leaderboards.trackers.by_name import TRACKERS, TrackerRecord, check_installed
from leaderboards.trackers.tracker import follow
from spaces.errors import BadInput
from tests.leaderboards.trackers.play import facts


@pytest.fixture
def absent(monkeypatch: pytest.MonkeyPatch) -> str:
    """Return the name of a tracker whose package does not exist."""
    row = TrackerRecord("absent", "no_such_module:open_tracker", "no_such_package", "absent-extra")
    monkeypatch.setitem(TRACKERS, "absent", row)
    return "absent"


def test_a_missing_package_is_said_in_one_line_that_names_the_extra(absent: str, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"^track=absent needs the package no_such_package: .*\[absent-extra\]'$") as e:
        follow([absent], facts(tmp_path), say=pytest.fail)
    assert "\n" not in str(e.value)


def test_the_command_line_says_so_too_before_anything_is_made(
    absent: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_search.main([f"track={absent}", f"out={tmp_path / 'run'}"]) == BadInput.exit_code
    assert capsys.readouterr().err.splitlines() == [
        "track=absent needs the package no_such_package: pip install -e '.[absent-extra]'"
    ]
    assert not (tmp_path / "run").exists()


def test_nothing_is_opened_if_one_package_is_missing(
    absent: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = TrackerRecord("there", "no_such_module:open_tracker", "pytest", "there-extra")
    monkeypatch.setitem(TRACKERS, "there", there)
    with pytest.raises(BadInput, match="absent"):
        follow(["there", absent], facts(tmp_path / "run"), say=pytest.fail)
    assert not (tmp_path / "run").exists()


def test_a_folder_that_a_tracker_left_is_not_taken_for_its_package(
    absent: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "no_such_package").mkdir()
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(BadInput, match="no_such_package"):
        check_installed(absent)


def test_each_row_has_the_name_of_its_key_and_an_extra_of_its_own() -> None:
    assert [row.name for row in TRACKERS.values()] == list(TRACKERS)
    assert len({row.extra for row in TRACKERS.values()}) == len(TRACKERS)
