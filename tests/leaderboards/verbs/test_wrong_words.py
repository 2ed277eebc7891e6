"""Command lines that nobody should write: each is refused in one line, before anything heavy begins."""

import contextlib
import io
import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rich.console import Console

import run_search
from leaderboards.recipes.recipe import Recipe
from leaderboards.verbs.by_name import VERBS


def nothing(_: Sequence[str], __: Console, ___: bool, /) -> None:
    """Stand in for what a verb does once its words are checked."""


@pytest.fixture(scope="module", autouse=True)
def only_checked() -> Iterator[None]:
    """Leave of every verb its check alone."""
    with pytest.MonkeyPatch.context() as patch:
        for name, verb in VERBS.items():
            patch.setitem(VERBS, name, replace(verb, do=f"{__name__}:nothing"))
        yield


def ended(words: Sequence[str]) -> tuple[int, str]:
    told, said = io.StringIO(), io.StringIO()
    with contextlib.redirect_stderr(told), contextlib.redirect_stdout(said):
        code = run_search.main(words)
    return code, told.getvalue()


HUGE = "1" + "0" * 400
LONG = "x" * 5000
LINES = [
    ["weights"], ["weights="], ["=3"], ["="], [""], ["weights==a", "data=b"], ["gflops=1", "gflops=2"],
    ["imgsz=" + HUGE], ["candidates=" + HUGE], ["seed=" + HUGE], ["seed=" + "9" * 5000], ["lr=" + HUGE],
    ["gflops=" + HUGE], ["lr=nan"], ["gflops=nan"], ["gflops=inf%"], ["keep_min=-inf"], ["flip=nan"], ["workers=1e3"],
    ["workers=0x10"], ["weights=a\nb", "data=c"], ["out=a\nb"], ["strategy=random\n"], ["out=" + LONG],
    ["weights=" + LONG, "data=d"], ["data=" + LONG, "weights=w"], ["config=" + LONG], ["device_file=" + LONG],
    ["backbones=ghostnet", "backbone_weights=ghostnet:" + LONG], ["weights=\udcff.pt", "data=\udcfe.yaml"],
    ["out=\udcff"], ["strategy=\udcff"], ["gflops=\udcff"], ["\udcff=1"], ["bits=\udcff"], ["config=\udcff"],
    ["weights=a\x00b", "data=c"], ["config=a\x00b"], ["data=a\x00b", "weights=w"], ["device_file=a\x00"], ["out=."],
    ["out=.."], ["out=/"], ["out=~"], ["ladder=:"], ["ladder=a:b:c,:,1"], ["bits=[[]]"], ["bits=8,8"], ["device=-1"],
    ["device=" + "9" * 5000], ["select"], ["select", ""], ["select", "="], ["select", "\x00"],
    ["select", "\udcff"], ["select", LONG],
    ["report"], ["report", "a=b"], ["report", "\n"], ["report", "/dev/null"], ["report", "/"],
    ["export", "..", "id="], ["bench"], ["bench", ""], ["bench", "latency", "minutes"], ["bench", "\udcff"],
    ["profile", "--json", "x"], ["search", "search"], ["help=1"], ["--json=1"],
]  # fmt: skip


@pytest.mark.parametrize("words", LINES, ids=lambda words: ascii(" ".join(words))[:60])
def test_a_line_that_is_none_is_refused_in_one(words: list[str]) -> None:
    code, told = ended(words)
    assert code == 2, told
    assert told.count("\n") == 1
    assert len(told) <= 2001


CONFIGS: dict[str, bytes] = {
    "binary": os.urandom(3000),
    "utf-16": "imgsz: 320\n".encode("utf-16"),
    "a list": b"[1, 2]",
    "deep": b"[" * 100_000,
    "deep mapping": b"{a: " * 50_000,
    "tag": b"!!python/object/apply:os.system [id]",
    "bomb": b"a: &a [1,1,1,1,1,1,1,1,1]\n" + b"".join(
        b"%c: &%c [%s]\n" % (98 + n, 98 + n, b",".join([b"*%c" % (97 + n)] * 9)) for n in range(9)
    ),
    "circle": b"imgsz: &a [*a]",
    "too large": b"#" * 1_000_001,
    "empty": b"",
    "numbers as keys": b"1: 2",
    "lists as keys": b"? [1, 2]\n: 3",
    "null byte": b"weights: \"a\\0b\"\ndata: \"c\\0d\"",
    "wrong types": b"imgsz: [1]\nseed: {a: b}",
    "a date": b"seed: 2026-13-45",
    "nan": b"lr: .nan",
    "huge": b"seed: " + b"9" * 5000,
    "no number": b"keep_min: !!float x",
}  # fmt: skip


@pytest.mark.parametrize("name", CONFIGS)
def test_a_config_that_is_none_is_refused_in_one_line(name: str, tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_bytes(CONFIGS[name])
    code, told = ended([f"config={path}"])
    assert code == 2, told
    assert told.count("\n") == 1
    assert len(told) <= 2001


def test_a_config_that_is_no_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to("loop")
    os.mkfifo(tmp_path / "pipe")
    for name in (".", "loop", "pipe"):
        assert ended([f"config={tmp_path / name}"])[0] == 2


KEYS = st.sampled_from([*Recipe.model_fields, "config", "purse", "gflop", "", "id", "format"])
ODD = st.sampled_from(["", "=", "nan", "inf", "-1", "0", "1e999", HUGE, "none", "null", "[]", "{}", "true", "1%", "%",
                       "a:b", ",", "a,b", "digits", "random", "/", ".", "..", "/dev/zero", "\udcff", "\x00", "\n",
                       "١٢", "1_0", " 5 ", "0x10", "5" * 5000])  # fmt: skip
VALUES = st.one_of(ODD, st.text(max_size=12), st.integers().map(str), st.floats().map(str))
WORDS = st.one_of(
    st.tuples(KEYS, VALUES).map("=".join),
    st.text(max_size=10),
    st.sampled_from([*VERBS, "--json", "latency", "runs", "report"]),
)


@given(st.sampled_from(["", *VERBS]), st.lists(WORDS, max_size=6))
@settings(max_examples=1500, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_whatever_the_words_they_are_done_or_refused_in_one_line(verb: str, words: list[str]) -> None:
    code, told = ended([verb, *words] if verb else words)
    assert code in (0, 2), told
    assert told.count("\n") == (code == 2)


LEAVES = st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=5)
ANY = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2)
)


@given(content=st.dictionaries(KEYS, ANY, max_size=4))
@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_whatever_a_config_holds_it_is_done_or_refused_in_one_line(
    content: dict[str, object], tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.getbasetemp() / "any.yaml"
    path.write_text(yaml.safe_dump(content, allow_unicode=True), encoding="utf-8", errors="surrogateescape")
    code, told = ended([f"config={path}"])
    assert code in (0, 2), told
    assert told.count("\n") == (code == 2)
