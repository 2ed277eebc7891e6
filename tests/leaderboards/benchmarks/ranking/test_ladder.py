import pytest

from leaderboards.benchmarks.running import run
from spaces.errors import BadInput


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("n=1", "n must be a number from 2"),
        ("seeds=0", "seeds must be a number from 1"),
        ("budget=x", "budget must be a number from 1"),
        ("ladder=block_loss:1", "at least 2 times as many"),
        ("strategy=genius", "strategy: "),
        ("data=nonsense", "data='nonsense' must be digits"),
    ],
)
def test_what_cannot_be_asked_is_refused(words: str, told: str) -> None:
    with pytest.raises(BadInput, match=told):
        run(["ladder", words])
