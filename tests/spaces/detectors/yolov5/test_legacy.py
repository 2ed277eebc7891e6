import copy
import os
import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from ultralytics.models.yolo.detect import DetectionValidator
from ultralytics.nn.modules.conv import Conv
from ultralytics.utils.metrics import ap_per_class, box_iou
from ultralytics.utils.ops import xywh2xyxy

from evaluators.accuracy.detection import coco_map, predict
from evaluators.accuracy.suppression import suppress
from evaluators.data.dataset import load_dataset
from evaluators.data.images import Images, load_images
from spaces.build import Builder
from spaces.candidate import Candidate
from spaces.channels.trace import trace_channels
from spaces.cutting.probe import probe
from spaces.detectors.detector import load_detector, save_detector
from spaces.detectors.unpickling import FUNCTIONS, Inert
from spaces.detectors.yolov5.detector import AnchorDetector
from spaces.errors import BadInput
from spaces.recovery.recovery import Recovery
from spaces.space import Space
from tests.spaces.detectors.yolov5.original import Change, write_original
from tests.spaces.detectors.yolov5.tiny import tiny
from tests.spaces.untrained import study_without_images

IMAGE = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
REAL = pytest.mark.skipif("REAL_DATA" not in os.environ, reason="needs REAL_DATA, the folder with data and weights")


def parent() -> AnchorDetector:
    return tiny("yolov5n")


@torch.no_grad()
def difference(a: nn.Module, b: nn.Module) -> float:
    """Return the largest difference of the decoded outputs, over the largest output."""
    return float((a(IMAGE)[0] - b(IMAGE)[0]).abs().max() / b(IMAGE)[0].abs().max())


def test_a_file_of_the_original_is_read_and_computes_the_same(tmp_path: Path) -> None:
    loaded, architecture = load_detector(write_original(parent(), tmp_path / "a.pt"))
    assert isinstance(loaded, AnchorDetector)
    assert difference(loaded, parent()) == 0
    assert architecture.names == ("0", "1", "2")
    assert architecture.yaml["anchors"] == parent().yaml["anchors"]
    norms = [layer for layer in loaded.modules() if isinstance(layer, nn.BatchNorm2d)]
    assert {(layer.eps, layer.momentum) for layer in norms} == {(1e-3, 0.03)}


def test_a_file_in_half_precision_becomes_float32(tmp_path: Path) -> None:
    path = write_original(parent(), tmp_path / "a.pt", change=lambda _, network: network.half())
    loaded, _ = load_detector(path)
    for (name, tensor), own in zip(loaded.named_parameters(), parent().parameters(), strict=True):
        assert torch.equal(tensor, own.half().float()), name


def test_what_was_read_is_saved_and_loaded_as_a_folder(tmp_path: Path) -> None:
    loaded, architecture = load_detector(write_original(parent(), tmp_path / "a.pt"))
    save_detector(loaded, tmp_path / "folder", candidate=Candidate("same", ()))
    again, known = load_detector(tmp_path / "folder")
    assert isinstance(again, AnchorDetector)
    assert known.yaml == architecture.yaml
    assert difference(again, loaded) == 0


def test_a_cut_network_is_loaded_without_its_parent(tmp_path: Path) -> None:
    graph = probe(parent(), trace_channels(parent(), imgsz=64), rng=np.random.default_rng(0))
    assert len(graph.kept_whole) == 3  # the three outputs of the head
    space = Space(graph)
    candidate = space.sample(np.random.default_rng(0), limits={"macs_g": 0.6 * space.reach()["macs_g"][1]})
    images, study = torch.rand(4, 3, 64, 64), study_without_images(parent(), graph)
    cut = Builder(parent(), graph, space, images=images, study=study)(candidate, Recovery.ADAPTIVE_BN)
    save_detector(cut, tmp_path, candidate=candidate)
    loaded, architecture = load_detector(tmp_path)
    assert architecture.candidate == candidate
    assert difference(loaded, cut) < 1e-4
    assert sum(p.numel() for p in loaded.parameters()) < sum(p.numel() for p in parent().parameters())


def test_the_averaged_network_is_preferred(tmp_path: Path) -> None:
    def average(record: dict[str, object], network: nn.Module) -> None:
        record |= {"ema": network, "model": None}

    assert difference(load_detector(write_original(parent(), tmp_path / "a.pt", change=average))[0], parent()) == 0


def test_what_training_leaves_in_a_file_is_passed_over(tmp_path: Path) -> None:
    def leave(record: dict[str, object], _: nn.Module) -> None:
        record |= {"best_fitness": np.float64(0.3), "opt": {"save_dir": Path("runs"), "names": {1, 2}}}

    assert difference(load_detector(write_original(parent(), tmp_path / "a.pt", change=leave))[0], parent()) == 0


def test_what_other_files_have_made_torch_allow_changes_nothing(tmp_path: Path) -> None:
    path = write_original(parent(), tmp_path / "a.pt")
    with torch.serialization.safe_globals([nn.Conv2d, nn.BatchNorm2d, (eval, "models.yolo.Model")]):
        assert difference(load_detector(path)[0], parent()) == 0


def test_what_was_changed_in_code_is_carried_over(tmp_path: Path) -> None:
    changed = copy.deepcopy(parent())
    for layer in changed.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.eps = 1e-5
        if isinstance(layer, Conv):
            layer.act = nn.LeakyReLU(0.1)
    loaded, _ = load_detector(write_original(changed, tmp_path / "a.pt"))
    assert difference(loaded, parent()) > 1e-3
    assert difference(loaded, changed) == 0
    save_detector(loaded, tmp_path / "folder", candidate=Candidate("same", ()))
    assert difference(load_detector(tmp_path / "folder")[0], changed) == 0


def without_norms(_: dict[str, object], network: nn.Module) -> None:
    for layer in network.modules():
        layer._modules.pop("bn", None)


def with_pooling(_: dict[str, object], network: nn.Module) -> None:
    network.model[0]._modules["act"] = nn.MaxPool2d(3, 1, 1)  # type: ignore[index, union-attr]


def without_network(record: dict[str, object], network: nn.Module) -> None:
    record["model"] = None
    record["optimizer"] = network


def with_a_book_of_a_description(_: dict[str, object], network: nn.Module) -> None:
    row: list[object] = ["Conv"]
    for _layer in range(60):
        row = [row, row]  # 2^60 layers in a few bytes
    network.__dict__["yaml"] = {"backbone": row}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (without_norms, "fused or quantized"),
        (with_pooling, r"layer model.0.act is a MaxPool2d in the file and a SiLU by its yaml"),
        (without_network, "holds no network"),
        (with_a_book_of_a_description, "at most 1000000 characters"),
    ],
)
def test_a_network_that_cannot_be_taken_is_refused_with_the_reason(
    change: Change, message: str, tmp_path: Path
) -> None:
    path = write_original(parent(), tmp_path / "a.pt", change=change)
    with pytest.raises(BadInput, match=message):
        load_detector(path)


@pytest.mark.parametrize("name", ["SegmentationModel", "ClassificationModel"])
def test_other_tasks_are_refused_by_name(name: str, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=f"models.yolo.{name}; only detection"):
        load_detector(write_original(parent(), tmp_path / "a.pt", name=name))


MODEL = b"cmodels.yolo\nModel\n"
FUNCTION = b"ctorch._utils\n_rebuild_parameter\n"


def write_pickle(path: Path, value: bytes, *, tail: bytes = b"") -> Path:
    """Write a checkpoint whose "model" is what the opcodes `value` leave on the stack."""
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", b"\x80\x02}Vmodel\n" + value + b"s." + tail)
        archive.writestr("archive/data/0", bytes(16))
        archive.writestr("archive/version", "3\n")
    return path


@pytest.mark.parametrize(
    ("value", "name"),
    [
        (b"cposix\nsystem\n(Vtouch PROOF\ntR", "posix.system"),
        (b"cos\nsystem\n(Vtouch PROOF\ntR", "os.system"),
        (b"c__builtin__\neval\n(V__import__('os').system('touch PROOF')\ntR", "__builtin__.eval"),
        (b"c__builtin__\nsetattr\n(" + MODEL + b"Va\nK\x01tR", "__builtin__.setattr"),
        (b"(Vtouch PROOF\nios\nsystem\n", "os.system"),  # INST
        (b"(cos\nsystem\nVtouch PROOF\no", "os.system"),  # OBJ
        (b"\x8c\x02os\x8c\x06system\x93(Vtouch PROOF\ntR", "os.system"),  # STACK_GLOBAL
        (b"ctorch.hub\nload\n(Va/b\nVc\ntR", "torch.hub.load"),
        (b"ctorch\nload\n(VPROOF\ntR", "torch.load"),
        (b"ctorch.nn.modules.module\n_addindent\n(Va\nK\x01tR", "torch.nn.modules.module._addindent"),
        (b"cspaces.detectors.detector\nload_detector\n(VPROOF\ntR", "spaces.detectors.detector.load_detector"),
        (b"c__main__\nLoss\n)R", "__main__.Loss"),
    ],
)
def test_a_pickle_that_asks_for_anything_else_is_refused_by_name(value: bytes, name: str, tmp_path: Path) -> None:
    proof = tmp_path / "proof"
    asked = (b"(" + MODEL + value + b"t").replace(b"PROOF", str(proof).encode())  # beside a class that is fine
    with pytest.raises(BadInput, match=name.replace(".", r"\.")):
        load_detector(write_pickle(tmp_path / "a.pt", asked))
    assert not proof.exists()


@pytest.mark.parametrize(
    "value",
    [
        MODEL + b"(Vtouch PROOF\ntR",  # called with arguments
        b"cbuiltins\ngetattr\n(" + MODEL + b"V__init__\ntR(Vtouch PROOF\ntR" + MODEL + b"0",  # gives nothing to call
        b"cmodels.os\nsystem\n(Vtouch PROOF\ntR",
        b"cmodels.yolo\nModel.__init__.__globals__\n" + b")R" + MODEL + b"0",
        MODEL + b")\x81}V__class__\n" + MODEL + b"sb",  # filled with what would change its class
        MODEL + b")\x81}V__setstate__\n" + MODEL + b"sV_modules\n" + MODEL + b"sb",
        MODEL + b"N}V__setstate__\nNs\x86b",  # a class that is filled
        MODEL + b"}Vpath\nVevil\nsb",
        FUNCTION + b"N}V_body\n" + MODEL + b"s\x86b" + MODEL + b"0",  # a function that is filled
        FUNCTION + b"}V__code__\nNsb" + MODEL + b"0",
        b"ccollections\nOrderedDict\n)R}Vitems\n" + MODEL + b"sb",  # attributes of a container
        b"ctorch\nFloatStorage\n}Vx\nNsb" + MODEL + b"0",
        MODEL + b"0(Vstorage\nctorch\nFloatStorage\nV../../x\nVcpu\nK\x04tQ",  # a storage outside
        MODEL + b"0(Vmodule\nctorch\nFloatStorage\nV0\nVcpu\nK\x04tQ",
        MODEL + b"0Vx\nr\xf0\xff\xff\xff",  # remembers something as number 4294967280
        MODEL + b"0\x8d" + (2**40).to_bytes(8, "little") + b"x",  # a text of a terabyte
        MODEL + b")\x81p0\n}V_modules\n}Va\ng0\nssb",  # contains itself
    ],
)
def test_a_hostile_pickle_of_allowed_names_does_nothing(value: bytes, tmp_path: Path) -> None:
    proof, before, functions = tmp_path / "proof", dict(vars(Inert)), dict(FUNCTIONS)
    bodies = {name: function._body for name, function in FUNCTIONS.items()}
    with pytest.raises(BadInput, match="weights"):
        load_detector(write_pickle(tmp_path / "a.pt", value.replace(b"PROOF", str(proof).encode())))
    assert not proof.exists()
    assert dict(vars(Inert)) == before
    assert functions == FUNCTIONS
    assert bodies == {name: function._body for name, function in FUNCTIONS.items()}


def layer(parts: bytes) -> bytes:
    """Return the opcodes of a layer whose modules are the mapping `parts`."""
    return MODEL + b")\x81}V_modules\n" + parts + b"sb"


def test_layers_that_double_at_every_level_end(tmp_path: Path) -> None:
    value = layer(b"}")
    for index in range(60):
        value += b"q%c0" % index + layer(b"}(Va\nh%cVb\nh%cu" % (index, index))
    with pytest.raises(BadInput, match="weights"):
        load_detector(write_pickle(tmp_path / "a.pt", value))


def tensor(offset: bytes, size: bytes, stride: bytes) -> bytes:
    """Return the opcodes of a tensor in a storage of four numbers."""
    storage = b"(Vstorage\nctorch\nFloatStorage\nV0\nVcpu\nK\x04tQ"
    return b"ctorch._utils\n_rebuild_tensor_v2\n(" + storage + offset + size + stride + b"\x89}tR"


@pytest.mark.parametrize(
    ("offset", "size", "stride"),
    [
        (b"K\x00", b"K\x05\x85", b"K\x01\x85"),  # reaches beyond
        (b"K\x04", b"K\x01\x85", b"K\x01\x85"),
        (b"J\xff\xff\xff\xff", b"K\x01\x85", b"K\x01\x85"),  # begins before
        (b"K\x00", b"K\x02\x85", b"J\xff\xff\xff\xff\x85"),
        (b"K\x00", b"J\xff\xff\xff\x7f\x85", b"K\x00\x85"),  # one number, two billion times
        (b"K\x00", b"J\xff\xff\xff\xff\x85", b"K\x01\x85"),
    ],
)
def test_tensors_stay_inside_their_storage_and_no_larger_than_the_file(
    offset: bytes, size: bytes, stride: bytes, tmp_path: Path
) -> None:
    norm = b"ctorch.nn.modules.batchnorm\nBatchNorm2d\n)\x81}Veps\nG\x3f\x50\x62\x4d\xd2\xf1\xa9\xfcsb"
    head = b"cmodels.yolo\nDetect\n)\x81}V_buffers\n}Vanchors\n" + tensor(offset, size, stride) + b"ssb"
    path = write_pickle(tmp_path / "a.pt", layer(b"}(Vnorm\n" + norm + b"Vhead\n" + head + b"u"))
    with pytest.raises(BadInput, match="no readable checkpoint"):
        load_detector(path)


def test_a_file_that_was_cut_short_anywhere_is_refused(tmp_path: Path) -> None:
    content = write_original(parent(), tmp_path / "whole.pt").read_bytes()
    path = tmp_path / "a.pt"
    for length in (0, 10, 1000, len(content) // 2, len(content) - 30, len(content) - 1):
        path.write_bytes(content[:length])
        with pytest.raises(BadInput, match=r"no readable checkpoint|damaged"):
            load_detector(path)


def test_other_forms_of_a_pickle_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.pt"
    torch.save({"model": 1}, path, _use_new_zipfile_serialization=False)  # as torch did before 1.6
    with pytest.raises(BadInput, match=r"written by torch before 1\.6"):
        load_detector(path)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", pickle.dumps(b"a" * 10_000_000))
    with pytest.raises(BadInput, match="no readable checkpoint"):
        load_detector(path)


@REAL
def test_the_official_file_is_that_of_the_publication() -> None:
    model, architecture = load_detector(Path(os.environ["REAL_DATA"]) / "weights" / "legacy_yolov5n_v7.0.pt")
    assert sum(parameter.numel() for parameter in model.parameters()) == 1_872_157  # YOLOv5's table: 1.9 M
    assert (len(architecture.names), architecture.names[0]) == (80, "person")
    norms = [layer for layer in model.modules() if isinstance(layer, nn.BatchNorm2d)]
    assert {(layer.eps, layer.momentum) for layer in norms} == {(1e-3, 0.03)}


@torch.no_grad()
def ultralytics_map(model: nn.Module, val: Images, folder: Path) -> float:
    """Return mAP50-95 as Ultralytics validates square letterboxes: in their pixels, boxes not clipped to the image.

    Clipping them, as this project does, finds .335 here.
    """
    validator = DetectionValidator(save_dir=folder)
    hits, found = [], []
    for part in val.parts(8):
        targets, sides = part.targets(), float(part.imgsz)
        for index, boxes in enumerate(suppress(model(part.tensor())[0])):
            own = targets["batch_idx"] == index
            truth, kinds = xywh2xyxy(targets["bboxes"][own]) * sides, targets["cls"][own, 0]
            hits.append(validator.match_predictions(boxes[:, 5], kinds, box_iou(truth, boxes[:, :4])).numpy())
            found.append(boxes.numpy())
    rows = np.concatenate(found)
    return float(ap_per_class(np.concatenate(hits), rows[:, 4], rows[:, 5], val.boxes[:, 1])[5].mean())


@REAL
@pytest.mark.slow
def test_the_official_file_finds_what_it_is_known_to_find(tmp_path: Path) -> None:
    real = Path(os.environ["REAL_DATA"])
    model, _ = load_detector(real / "weights" / "legacy_yolov5n_v7.0.pt")
    val = load_images(load_dataset(real / "data" / "coco128" / "data.yaml").val, imgsz=640)
    assert ultralytics_map(model, val, tmp_path) == pytest.approx(0.3320, abs=0.001)  # what their validator prints
    assert coco_map(predict(model, val), val).map50_95 == pytest.approx(0.338, abs=0.001)
