from pathlib import Path

import pytest

from leaderboards.trackers.kept_id import keep_id, read_id


def test_what_is_kept_is_read_back(tmp_path: Path) -> None:
    path = tmp_path / "kept.json"
    assert read_id(path) is None
    keep_id(path, "abc")
    assert read_id(path) == "abc"


@pytest.mark.parametrize("text", ["[]", '{"run_id": 3}', '"abc"'])
def test_another_shape_holds_no_id(tmp_path: Path, text: str) -> None:
    (tmp_path / "kept.json").write_text(text)
    assert read_id(tmp_path / "kept.json") is None
