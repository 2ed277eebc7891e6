"""The documents: every command that they show can be asked for, and so can every record's."""

import json
import re
import shlex
from collections.abc import Sequence
from pathlib import Path

import pytest

from leaderboards.recipes.keys import LIMITS
from leaderboards.recipes.reading import read_pairs, read_recipe
from leaderboards.verbs.by_name import VERBS
from leaderboards.verbs.checks import check_bench
from tests.docs import COMMAND, PAGES, ROOT, commands_of

RECORDS = sorted((ROOT / "leaderboards" / "records").glob("*/record.json"))
LINK = re.compile(r"\]\((?!https?:|#)([^)#]+)(#[^)]*)?\)")


def parse(words: Sequence[str]) -> None:
    """Raise BadInput unless `words` can be asked for; files that they name need not be there."""
    words = [word for word in words if word not in ("--json", "--debug", "--help")]
    name = words[0] if words and words[0] in VERBS else "search"
    rest = words[1:] if words and words[0] in VERBS else words
    if name in ("search", "profile"):
        read_recipe(rest)
    elif name == "bench" and rest:
        check_bench(rest)
    elif name != "bench":
        allowed = {"select": LIMITS, "report": ("out",), "export": ("id", "format")}[name]
        read_pairs([word for word in rest if "=" in word], allowed=allowed)
        assert rest
        assert "=" not in rest[0], "a run comes first"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_command_that_a_page_shows_can_be_asked_for(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "run.yaml").write_text("{}", encoding="utf-8")  # the one file that is read before it is looked for
    monkeypatch.chdir(tmp_path)
    for words in commands_of(page):
        parse(words)


def test_the_pages_show_commands() -> None:
    assert sum(len(commands_of(page)) for page in PAGES) > 40


@pytest.mark.parametrize("path", RECORDS, ids=lambda path: path.parent.name)
def test_the_command_that_repeats_a_record_can_be_asked_for(path: Path) -> None:
    record = json.loads(path.read_text(encoding="utf-8"))
    own = [part for part in record["command"].split("&&") if COMMAND in part]
    assert own, record["command"]
    for part in own:
        parse(shlex.split(part.partition(COMMAND)[2]))


@pytest.mark.parametrize("page", [*PAGES, ROOT / "DESIGN.md"], ids=lambda page: page.name)
def test_every_link_leads_to_a_file_of_the_repository(page: Path) -> None:
    for target, _ in LINK.findall(page.read_text(encoding="utf-8")):
        assert (page.parent / target).exists(), target


def test_the_front_page_stays_short() -> None:
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 150
