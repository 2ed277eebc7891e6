from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spaces.files import write_atomic


@given(st.one_of(st.binary(max_size=200), st.text(st.characters(codec="utf-8"), max_size=80)))
def test_what_is_written_is_what_is_read(tmp_path_factory: pytest.TempPathFactory, content: str | bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "note.txt"
    write_atomic(path, content)
    assert path.read_bytes() == (content.encode() if isinstance(content, str) else content)


def test_the_new_file_takes_the_place_of_the_old_and_leaves_nothing_beside_it(tmp_path: Path) -> None:
    write_atomic(tmp_path / "a", "a long old text")
    write_atomic(tmp_path / "a", "new")
    assert (tmp_path / "a").read_text(encoding="utf-8") == "new"
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_content_that_cannot_be_written_leaves_the_old_file(tmp_path: Path) -> None:
    write_atomic(tmp_path / "a", "old")
    with pytest.raises(UnicodeEncodeError):
        write_atomic(tmp_path / "a", "half a character: \ud800")
    assert (tmp_path / "a").read_text(encoding="utf-8") == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_a_place_that_cannot_be_taken_is_an_error_and_leaves_nothing_behind(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(OSError):
        write_atomic(tmp_path / "folder", "text")
    with pytest.raises(FileNotFoundError):
        write_atomic(tmp_path / "nowhere" / "a", "text")
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]


def test_who_opened_the_old_file_still_reads_all_of_it(tmp_path: Path) -> None:
    write_atomic(tmp_path / "a", "old")
    with (tmp_path / "a").open(encoding="utf-8") as reader:
        write_atomic(tmp_path / "a", "new")
        assert reader.read() == "old"
