"""Checkpoints with faults of all kinds are loaded or refused; whatever they say, nothing of it is run."""

import io
import os
import pickle
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest
import torch

from spaces.detectors.detector import load_detector
from spaces.errors import BadInput
from tests.spaces.detectors.files import activate, changed_network, random_network, write
from tests.spaces.detectors.yolov5.original import write_original
from tests.spaces.detectors.yolov5.tiny import tiny

N_QUICK, N_SLOW = 300, 2000
Archive = dict[str, bytes]  # what is in it, by name
Rng = np.random.Generator


def flipped(content: bytes, rng: Rng) -> bytes:
    """Return `content` with up to eight bytes changed, each to any other or in one bit."""
    mutated = bytearray(content)
    for place in rng.integers(0, len(mutated), size=int(rng.integers(1, 9))):
        mutated[place] = int(rng.integers(256)) if rng.random() < 0.5 else mutated[place] ^ (1 << int(rng.integers(8)))
    return bytes(mutated)


def cut(content: bytes, rng: Rng) -> bytes:
    return content[: int(rng.integers(len(content)))]


def spliced(content: bytes, rng: Rng) -> bytes:
    """Return `content` with a part of it in the place of another, or left out, or twice."""
    start, end, place = np.sort(rng.integers(0, len(content), size=3))
    return [content[:start] + content[end:], content[:place] + content[start:end] + content[place:]][rng.integers(2)]


def swapped(content: bytes, rng: Rng) -> bytes:
    """Return `content` with two words of it, of keys and names, in each other's place; each with its length."""
    words = [word for word in WORDS if word in content]
    a, b = (words[index] for index in rng.choice(len(words), size=2, replace=False))
    return content.replace(a, b"\0swap\0").replace(b, a).replace(b"\0swap\0", b)


def renumbered(content: bytes, rng: Rng) -> bytes:
    """Return `content` with one of its small numbers another, of up to four bytes."""
    places = [place for place, byte in enumerate(content) if byte in b"KMJ"]
    place = int(rng.choice(places))
    width = {ord("K"): 1, ord("M"): 2, ord("J"): 4}[content[place]]
    return content[: place + 1] + rng.bytes(width) + content[place + 1 + width :]


def _word(text: str) -> bytes:
    return b"X" + len(text).to_bytes(4, "little") + text.encode()


KEYS = (
    "yaml names model ema _modules _parameters _buffers conv bn act cv1 cv2 m weight bias running_mean running_var "
    "stride padding kernel_size groups eps backbone head nc scale f i nl no c add Conv Concat Detect nn.Upsample "
    "nearest mode in_channels out_channels training epoch"
)
WORDS = [_word(key) for key in KEYS.split()]
CHANGES: Mapping[str, Callable[[bytes, Rng], bytes]] = {
    "flipped": flipped,
    "cut": cut,
    "spliced": spliced,
    "swapped": swapped,
    "renumbered": renumbered,
}


def mutate(archive: Archive, rng: Rng) -> Archive:
    """Return `archive` with a fault in its pickle, in a tensor, or among its parts."""
    names = sorted(archive)
    pickled = next(name for name in names if name.endswith("data.pkl"))
    kind = rng.choice([*CHANGES, "tensor", "gone", "exchanged"], p=[0.3, 0.05, 0.1, 0.2, 0.2, 0.05, 0.05, 0.05])
    if kind in CHANGES:
        return {**archive, pickled: CHANGES[kind](archive[pickled], rng)}
    one, other = (str(name) for name in rng.choice(names, size=2, replace=False))
    if kind == "tensor":
        return {**archive, one: flipped(archive[one], rng) if archive[one] else b""}
    if kind == "gone":
        return {name: content for name, content in archive.items() if name != one}
    return {**archive, one: archive[other], other: archive[one]}


@pytest.fixture(scope="module")
def archives(tmp_path_factory: pytest.TempPathFactory) -> list[Archive]:
    """Return a file of each kind, unpacked."""
    folder = tmp_path_factory.mktemp("sound")
    leaky = changed_network("small", activate(torch.nn.Hardswish, layers=range(3)))
    paths = [
        write(random_network("small"), folder / "a.pt"),
        write(leaky, folder / "b.pt"),
        write_original(tiny("yolov5n"), folder / "c.pt"),
    ]
    found = []
    for path in paths:
        with zipfile.ZipFile(path) as file:
            found.append({name: file.read(name) for name in file.namelist()})
    return found


def packed(archive: Archive) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as file:
        for name, part in archive.items():
            file.writestr(name, part)
    return content.getvalue()


def outcome(path: Path) -> str:
    """Return "loaded", or why not."""
    try:
        load_detector(path)
    except BadInput as error:
        assert "\n" not in str(error)
        return str(error)
    return "loaded"


@pytest.mark.parametrize("n", [N_QUICK, pytest.param(N_SLOW, marks=pytest.mark.slow)])
def test_every_mutated_checkpoint_is_loaded_or_refused(
    n: int, archives: list[Archive], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run(*arguments: object) -> None:
        pytest.fail(f"a file had code run: {arguments}")

    monkeypatch.setattr(os, "system", run)
    monkeypatch.setattr(pickle, "loads", run)
    monkeypatch.setattr(torch, "load", run)
    rng, path, outcomes = np.random.default_rng(0), tmp_path / "a.pt", []
    for index in range(n):
        mutated = mutate(archives[index % len(archives)], rng)
        content = packed(mutated)
        path.write_bytes(flipped(content, rng) if rng.random() < 0.05 else content)
        outcomes.append(outcome(path))
    assert n // 50 < outcomes.count("loaded") < n * 0.9  # else it tries nothing
    assert len({text[-60:] for text in outcomes}) > n // 20


CODE = {
    "called": b"cposix\nsystem\n(Vtouch PROOF\ntR",
    "by its stack": b"\x8c\x05posix\x8c\x06system\x93(Vtouch PROOF\ntR",
    "as an instance": b"(Vtouch PROOF\niposix\nsystem\n",
    "evaluated": b"cbuiltins\neval\n(V__import__('os').system('touch PROOF')\ntR",
    "a class of the script": b"c__main__\nLayer\n)R",
}


@pytest.mark.parametrize("how", CODE)
def test_code_anywhere_in_a_checkpoint_is_named_and_not_run(how: str, archives: list[Archive], tmp_path: Path) -> None:
    proof = tmp_path / "proof"
    archive = archives[0]
    pickled = next(name for name in archive if name.endswith("data.pkl"))
    asked = CODE[how].replace(b"PROOF", str(proof).encode())
    start = archive[pickled].index(_word("train_args"))
    path = tmp_path / "a.pt"
    path.write_bytes(packed({**archive, pickled: archive[pickled][:start] + asked + b"0" + archive[pickled][start:]}))
    with pytest.raises(BadInput, match=r"asks for '(posix\.system|builtins\.eval|__main__\.Layer)'"):
        load_detector(path)
    assert not proof.exists()
