import ctypes
import os

import pytest

from spaces.bits.allocation import silent_stdout


def test_what_c_writes_inside_is_lost_and_what_it_writes_around_is_kept(capfd: pytest.CaptureFixture[str]) -> None:
    library = ctypes.CDLL(None)
    library.puts(b"before")
    with silent_stdout():
        library.puts(b"inside")
        os.write(1, b"inside, too")
    library.puts(b"after")
    library.fflush(None)
    assert capfd.readouterr().out.split() == ["before", "after"]


def test_output_comes_back_after_an_error(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ValueError, match="no"), silent_stdout():
        raise ValueError("no")
    os.write(1, b"after")
    assert capfd.readouterr().out == "after"
