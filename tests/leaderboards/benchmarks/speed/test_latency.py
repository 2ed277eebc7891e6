import pytest

from leaderboards.benchmarks.running import run
from spaces.errors import BadInput


@pytest.mark.parametrize(
    ("word", "told"),
    [
        ("minutes=soon", "minutes must be a number from 0.01"),
        ("minutes=nan", "minutes must be a number from 0.01"),
        ("networks=3", "networks must be a number from 16"),
        ("unseen=0", "unseen must be a number from 2"),
        ("imgsz=100", "multiple of 32"),
        ("out=/nowhere/at/all/device.json", "'/nowhere/at/all' is no folder"),
        ("weights=a.pt", "data must be given too"),
    ],
)
def test_what_cannot_be_asked_is_refused_before_anything_is_timed(word: str, told: str) -> None:
    with pytest.raises(BadInput, match=told):
        run(["latency", word])
