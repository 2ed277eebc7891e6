"""Data yamls, lists and label files with bytes flipped, cut, repeated and lines swapped: read or refused in a line."""

from pathlib import Path

import numpy as np
import pytest

from evaluators.data.data_yaml import read_data_yaml
from evaluators.data.image_files import find_images
from evaluators.data.labels import LineKinds, read_labels
from spaces.errors import BadInput
from tests.evaluators.tiny import write_image

N = 1000
YAML = """path: .
train: [images/train, ../images/more]
validation: images\\val
nc: '3'
names: {0: cat, 1: yes, 2: "dog, \\x41"}
kpt_shape: [17, 3]
roboflow: {workspace: a, version: 2}
download: |
  open('ran', 'w').write('!')
"""
LABELS = "0 0.5 0.5 0.25 0.5\n1 1e-3 0.5 .2 1\n\n2 0.1 0.1 0.9 0.1 0.5 0.9\n"
LISTING = "./a.png\nb.png\n../c.jpg\n/d.tif\n"


TOKENS = (
    b"!!python/object/apply:os.system ['touch ran']",
    *(b"&a [*a]", b"nan", b"inf", b"-", b"[", b"{", b": ", b"\xff", b"1e999", b"2026-13-45", b"9" * 400),
    *(b"\xef\xbb\xbf", b"\x00", b"'", b'"', b"~", b"../" * 50, b"C:\\", b"\xe2\x80\xa8", b"? "),
)


def mutate(content: bytes, rng: np.random.Generator) -> bytes:
    """Return `content` with up to four changes of the kinds that disks, editors and enemies make."""
    for _ in range(rng.integers(1, 5)):
        start, end = sorted(rng.integers(0, len(content) + 1, 2))
        match rng.integers(6):
            case 0:
                content = content[:start] + rng.bytes(1) + content[start + 1 :]
            case 1:
                content = content[:start] + content[end:]
            case 2:
                content = content[:end] + content[start:]
            case 3:
                lines = content.split(b"\n")
                content = b"\n".join(lines[index] for index in rng.permutation(len(lines)))
            case 4:
                content = content[:start] + TOKENS[rng.integers(len(TOKENS))] + content[start:]
            case _:
                content = content.replace(b"\n", b"\r\n")
    return content


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in ("images/train/a.png", "images/more/b.png", "images/val/c.png"):
        write_image(tmp_path / name, seed=0)
    return tmp_path


def test_mutated_yamls_are_read_or_refused_and_nothing_of_them_is_run(folder: Path) -> None:
    rng, outcomes = np.random.default_rng(0), {True: 0, False: 0}
    for _ in range(N):
        (folder / "data.yaml").write_bytes(mutate(YAML.encode(), rng))
        try:
            is_read = bool(read_data_yaml(folder / "data.yaml").names)
        except BadInput as error:
            assert "\n" not in str(error)
            is_read = False
        outcomes[is_read] += 1
    assert min(outcomes.values()) > N // 20  # both happen
    assert not (folder / "ran").exists()


def test_mutated_label_files_make_boxes_inside_the_image_or_are_told(folder: Path) -> None:
    rng, n_faults = np.random.default_rng(0), 0
    image = folder / "images" / "train" / "a.png"
    label = folder / "labels" / "train" / "a.txt"
    label.parent.mkdir(parents=True)
    for _ in range(N):
        label.write_bytes(mutate(LABELS.encode(), rng))
        read = read_labels([image], LineKinds(3, 2))
        n_faults += bool(read.faults or read.unread)
        boxes = read.labels[0]
        assert boxes is None or bool(((boxes[:, 1:] >= 0) & (boxes[:, 1:] <= 1)).all())
        assert boxes is None or bool((boxes[:, 3:] > 0).all())
        assert boxes is None or set(boxes[:, 0].tolist()) <= {0, 1, 2}
    assert N // 20 < n_faults < N


def test_mutated_lists_name_what_is_not_there(folder: Path) -> None:
    rng = np.random.default_rng(0)
    for name in ("a.png", "b.png"):
        write_image(folder / name, seed=0)
    for _ in range(N // 4):
        (folder / "list.txt").write_bytes(mutate(LISTING.encode(), rng))
        try:
            found = find_images([folder / "list.txt"], where="data.yaml: train")
        except BadInput as error:
            assert any(part in str(error) for part in ("has no images", "is there", "by its suffix"))
        else:
            assert all(image.is_file() for image in found.images)
