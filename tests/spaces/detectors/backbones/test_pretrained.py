import os
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from spaces.detectors.backbones.pretrained import load_pretrained
from spaces.detectors.backbones.published import make_network, make_parts
from spaces.detectors.backbones.weight_paths import read_weight_paths
from spaces.errors import BadInput

NAME = "mobilenetv3_small"


@pytest.fixture(scope="module")
def tensors() -> dict[str, Tensor]:
    """The state dict of the published network with random weights and a classifier of 7 classes."""
    torch.manual_seed(1)
    state = make_network(NAME).state_dict()
    return {**state, "classifier.weight": torch.zeros(7, 1024), "classifier.bias": torch.zeros(7)}


def write(tensors: dict[str, Tensor], path: Path) -> Path:
    """Return `path`, where `tensors` now are, in the format of its suffix."""
    if path.suffix == ".safetensors":
        save_file(tensors, path)
    elif path.name == "nested.pth":
        torch.save({"epoch": 3, "state_dict": tensors}, path)
    else:
        torch.save(tensors, path)
    return path


@pytest.mark.parametrize("file", ["a.safetensors", "plain.pth", "nested.pth"])
def test_a_file_gives_its_tensors_to_the_backbone_whatever_its_classifier(
    file: str, tensors: dict[str, Tensor], tmp_path: Path
) -> None:
    parts = make_parts(NAME, load_pretrained(NAME, write(tensors, tmp_path / file)))
    assert torch.equal(parts[0][0].weight, tensors["conv_stem.weight"])  # type: ignore[arg-type]
    last = [value for name, value in tensors.items() if name.startswith("blocks.4.")]  # blocks.5 is the wide head
    found = list(parts[2].state_dict().values())
    assert len(found) == len(last) > 0
    assert all(torch.equal(a, b) for a, b in zip(found, last, strict=True))


def test_half_precision_and_missing_counters_are_made_good(tensors: dict[str, Tensor], tmp_path: Path) -> None:
    halved = {
        name: value.half() if value.is_floating_point() else value
        for name, value in tensors.items()
        if not name.endswith("num_batches_tracked")
    }
    loaded = load_pretrained(NAME, write(halved, tmp_path / "a.safetensors"))
    assert all(value.dtype == torch.float32 for value in loaded.values())
    make_parts(NAME, loaded)


def test_a_file_of_another_network_is_refused_by_its_first_tensor_that_differs(
    tensors: dict[str, Tensor], tmp_path: Path
) -> None:
    path = write(tensors, tmp_path / "a.safetensors")
    # stem and first depthwise convolution agree; then lcnet makes 32 channels of 16 and mobilenetv3_small 16
    with pytest.raises(BadInput, match=r"not of lcnet: blocks.0.0.conv_pw.weight must have the shape \(32, 16, 1, 1\)"):
        load_pretrained("lcnet", path)
    lacking = {name: value for name, value in tensors.items() if name != "blocks.2.0.conv_pw.weight"}
    save_file(lacking, path)
    with pytest.raises(BadInput, match=r"blocks.2.0.conv_pw.weight must have the shape \(96, 24, 1, 1\), .* none"):
        load_pretrained(NAME, path)
    save_file({**tensors, "blocks.9.odd": torch.zeros(1)}, path)
    with pytest.raises(BadInput, match=r"is not of mobilenetv3_small, which has no 'blocks.9.odd'"):
        load_pretrained(NAME, path)


def test_weights_that_are_not_finite_are_refused(tensors: dict[str, Tensor], tmp_path: Path) -> None:
    broken = {**tensors, "blocks.1.0.bn1.weight": torch.full_like(tensors["blocks.1.0.bn1.weight"], float("nan"))}
    with pytest.raises(BadInput, match=r"NaN or infinity, first in blocks.1.0.bn1.weight"):
        load_pretrained(NAME, write(broken, tmp_path / "a.pth"))


class Hostile:
    """Runs a command when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, (f"touch {self.path}",)


def test_foreign_code_is_never_run(tmp_path: Path) -> None:
    proof = tmp_path / "pwned"
    torch.save({"conv_stem.weight": Hostile(proof)}, tmp_path / "a.pth")
    with pytest.raises(BadInput, match="holds no plain tensors"):
        load_pretrained(NAME, tmp_path / "a.pth")
    assert not proof.exists()


@pytest.mark.parametrize(
    ("file", "content"), [("a.pth", b""), ("a.pth", b"\xff\xd8 a picture"), ("a.safetensors", b"x")]
)
def test_what_holds_no_tensors_is_refused(file: str, content: bytes, tmp_path: Path) -> None:
    (tmp_path / file).write_bytes(content)
    with pytest.raises(BadInput, match="holds no plain tensors"):
        load_pretrained(NAME, tmp_path / file)


@pytest.mark.parametrize("record", [[torch.zeros(1)], {}, {"a": 1}, {"state_dict": {"a": "b"}}])
def test_what_is_no_mapping_to_tensors_is_refused(record: object, tmp_path: Path) -> None:
    torch.save(record, tmp_path / "a.pth")
    with pytest.raises(BadInput, match="must map names to tensors"):
        load_pretrained(NAME, tmp_path / "a.pth")


def test_the_key_names_a_file_for_each_backbone(tmp_path: Path) -> None:
    first, second = tmp_path / "a.pth", tmp_path / "b:c.pth"
    first.touch()
    second.touch()
    assert read_weight_paths(f"ghostnet:{first}, lcnet:{second}") == {"ghostnet": first, "lcnet": second}


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "must be BACKBONE:FILE,..., got ''"),
        ("ghostnet", "must be BACKBONE:FILE,..., got 'ghostnet'"),
        ("ghostnet:", "must be BACKBONE:FILE,..., got 'ghostnet:'"),
        ("vgg:a.pth", "backbones must be some of .* got 'vgg'"),
        ("ghostnet:nowhere.pth", "'nowhere.pth' not found"),
        (f"ghostnet:{__file__},ghostnet:{__file__}", "ghostnet is given twice"),
    ],
)
def test_a_key_that_names_none_is_refused(text: str, told: str) -> None:
    with pytest.raises(BadInput, match=told):
        read_weight_paths(text)
