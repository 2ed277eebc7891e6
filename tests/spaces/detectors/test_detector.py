import json
import os
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch

from spaces.build import Builder
from spaces.candidate import Candidate
from spaces.cutting.probe import probe
from spaces.detectors.detector import load_detector, save_detector
from spaces.errors import BadInput
from spaces.recovery.recovery import Recovery
from spaces.space import Space
from tests.spaces.untrained import detector, graph_of, study_without_images


def cut_detector(name: str = "yolov8n") -> tuple[torch.nn.Module, Candidate]:
    model = detector(name)
    graph = probe(model, graph_of(name), rng=np.random.default_rng(0))
    space = Space(graph)
    candidate = space.sample(np.random.default_rng(0), limits={"macs_g": 0.5 * space.reach()["macs_g"][1]})
    images = torch.rand(4, 3, 64, 64)
    study = study_without_images(model, graph)
    return Builder(model, graph, space, images=images, study=study)(candidate, Recovery.ADAPTIVE_BN), candidate


@pytest.mark.parametrize("name", ["yolov5n", "yolov8n", "yolo11n"])
def test_a_cut_detector_is_saved_and_loaded_without_its_parent(name: str, tmp_path: Path) -> None:
    model, candidate = cut_detector(name)
    save_detector(model, tmp_path, candidate=candidate)
    loaded, architecture = load_detector(tmp_path)
    image = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        expected = model(image)[0]
        assert (loaded(image)[0] - expected).abs().max() <= 1e-4 * expected.abs().max()
    assert architecture.candidate == candidate
    assert architecture.names == tuple(f"class {index}" for index in range(10))


def test_half_precision_halves_the_file(tmp_path: Path) -> None:
    save_detector(detector(), tmp_path / "single", candidate=Candidate("same", ()))
    save_detector(detector(), tmp_path / "half", candidate=Candidate("same", ()), is_half=True)
    sizes = [(tmp_path / kind / "model.safetensors").stat().st_size for kind in ("single", "half")]
    assert sizes[1] < 0.55 * sizes[0]
    load_detector(tmp_path / "half")


def test_damaged_weights_are_refused(tmp_path: Path) -> None:
    save_detector(detector(), tmp_path, candidate=Candidate("same", ()))
    weights = tmp_path / "model.safetensors"
    payload = bytearray(weights.read_bytes())
    payload[-1] ^= 1
    weights.write_bytes(payload)
    with pytest.raises(BadInput, match="sha256 differs"):
        load_detector(tmp_path)
    weights.write_bytes(payload[:1000])
    with pytest.raises(BadInput, match="damaged"):
        load_detector(tmp_path)


@pytest.mark.parametrize(
    ("key", "value"),
    [("activation", "__import__('os').system('touch pwned')"), ("backbone", [[-1, 1, "os.system", ["true"]]])],
)
def test_an_architecture_that_names_code_is_refused(key: str, value: object, tmp_path: Path) -> None:
    save_detector(detector(), tmp_path, candidate=Candidate("same", ()))
    description = tmp_path / "architecture.json"
    record = json.loads(description.read_text())
    record["yaml"][key] = value
    description.write_text(json.dumps(record))
    with pytest.raises(BadInput):
        load_detector(tmp_path)


class Hostile:
    """Runs a command when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, (f"touch {self.path}",)


def test_foreign_code_in_a_checkpoint_is_never_run(tmp_path: Path) -> None:
    proof = tmp_path / "pwned"
    torch.save({"model": Hostile(proof)}, tmp_path / "zip.pt")
    (tmp_path / "plain.pt").write_bytes(pickle.dumps(Hostile(proof)))
    for name in ("zip.pt", "plain.pt"):
        with pytest.raises(BadInput, match="weights"):
            load_detector(tmp_path / name)
    assert not proof.exists()


@pytest.mark.parametrize("content", [b"", b"\xff\xd8\xff\xe0 a picture", b"PK\x03\x04 cut short"])
def test_what_is_no_checkpoint_is_refused(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "weights.pt"
    path.write_bytes(content)
    with pytest.raises(BadInput, match="no readable checkpoint"):
        load_detector(path)


def test_a_bare_state_dict_is_refused(tmp_path: Path) -> None:
    torch.save({"model": detector().state_dict()}, tmp_path / "weights.pt")
    with pytest.raises(BadInput, match="holds no network"):
        load_detector(tmp_path / "weights.pt")


def test_missing_weights_are_never_downloaded() -> None:
    with pytest.raises(BadInput, match="not found"):
        load_detector(Path("yolov8n.pt"))
