import json
from pathlib import Path

import pytest
from torch import Tensor, nn
from ultralytics.nn.modules.block import C2f
from ultralytics.nn.modules.conv import Conv
from ultralytics.nn.tasks import DetectionModel

from spaces.bases.depth import Repeat, drop_repeats
from spaces.candidate import Candidate
from spaces.detectors.backbones.swap import swap_backbone
from spaces.detectors.departures import KEY, renamed
from spaces.detectors.detector import load_detector, save_detector
from spaces.errors import BadInput
from tests.spaces.detectors.files import Change, activate, changed_network, difference, each, outputs, write


def hooked(model: DetectionModel) -> None:
    model.model[3].register_forward_hook(nn.Identity.forward)


def pooled(model: DetectionModel) -> None:
    model.model[0].act = nn.MaxPool2d(3, 1, 1)


def extended(model: DetectionModel) -> None:
    model.model[0].gate = nn.Identity()


def shortened(model: DetectionModel) -> None:
    del model.model[2].m[0]


def grouped(model: DetectionModel) -> None:
    model.model[1].conv.groups = 2


def rerouted(model: DetectionModel) -> None:
    model.model[6].f = [-1, 1]


def restrided(model: DetectionModel) -> None:
    model.model[-1].stride = model.stride * 2


def exchanged(model: DetectionModel) -> None:
    vars(model.model[2])["forward"] = C2f.forward_split


def reflecting(model: DetectionModel) -> None:
    model.model[0].conv.padding_mode = "reflect"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (hooked, r"layer model\.3 \(Conv\) has its own _forward_hooks, which is code"),
        (pooled, r"layer model\.0\.act is a MaxPool2d in the file and a SiLU by its yaml"),
        (extended, r"layer model\.0\.gate \(Identity\) is only in the file"),
        (shortened, r"layer model\.2\.m\.0 \(Bottleneck\) is only in the yaml"),
        (grouped, r"layer model\.1\.conv \(Conv2d\) has 2 groups and by its yaml 1"),
        (rerouted, r"layer model\.6 \(Concat\) has f \[-1, 1\] in the file and \[-1, 2\] by its yaml"),
        (restrided, r"its head holds the strides \(8\.0, 16\.0\), and its layers make \[4\.0, 8\.0\]"),
        (exchanged, r"layer model\.2 \(C2f\) has its own forward, which is code"),
        (reflecting, r"layer model\.0\.conv \(Conv2d\) has padding_mode 'reflect' in the file and 'zeros' by its yaml"),
        (each(nn.Conv2d, padding=(1, 10**9)), r"layer model\.0\.conv \(Conv2d\) has padding \[1, 1000000000\]"),
        (each(nn.Upsample, scale_factor=4.0), "cannot be built|change the strides|do not fit"),
        (each(nn.BatchNorm2d, affine=False), r"layer model\.0\.bn \(BatchNorm2d\) has affine False"),
    ],
)
def test_what_cannot_be_carried_over_is_refused_by_name(change: Change, message: str, tmp_path: Path) -> None:
    path = write(changed_network("small", change), tmp_path / "a.pt")
    with pytest.raises(BadInput, match=message):
        load_detector(path)


@pytest.mark.parametrize(
    ("departures", "message"),
    [
        ([], "must be a mapping"),
        ({"model.0.act": "nn.ReLU"}, "must be a few numbers"),
        ({"model.0.act": {"class": "os.system"}}, "must be a few numbers"),
        ({"model.0.act": {"class": "MaxPool2d"}}, "must be a few numbers"),
        ({"model.0": {"class": "ReLU"}}, "'ReLU' cannot be in the place of a Conv"),
        ({"model.0.act": {"forward": 1}}, "a SiLU has no 'forward' that can be set"),
        ({"model.0.conv": {"_parameters": 1}}, "has no '_parameters' that can be set"),
        ({"model.0.conv": {"groups": 2}}, "has no 'groups' that can be set"),
        ({"model.0.conv": {"padding": 10**9}}, "must be a few numbers"),
        ({"model.0.conv": {"padding": [4000, 4000]}}, "makes a map|too much work"),
        ({"model.0.conv": {"stride": [4, 4]}}, "change the strides"),
        ({"model.0.bn": {"eps": "nearest"}}, "do not fit|cannot be built"),
        ({"model.99": {"eps": 1}}, "there is no layer 'model.99'"),
        ({"model.0.conv.weight": {"data": 1}}, "there is no layer"),
        ({"training": {"eps": 1}}, "must be a few numbers"),
        ({f"model.{index}": {} for index in range(6000)}, "at most 5000 layers"),
    ],
)
def test_a_folder_whose_departures_are_none_is_refused(departures: object, message: str, tmp_path: Path) -> None:
    model = changed_network("small", activate(nn.ReLU, layers=range(2)))
    save_detector(model, tmp_path, candidate=Candidate("same", ()))
    path = tmp_path / "architecture.json"
    record = json.loads(path.read_text())
    record["yaml"][KEY] = departures
    path.write_text(json.dumps(record))
    with pytest.raises(BadInput, match=message):
        load_detector(tmp_path)


def test_layers_are_renamed_and_left_out() -> None:
    departures = {"model.0": {"eps": 1}, "model.1": {"eps": 2}}
    assert renamed(departures, lambda name: "model.7" if name == "model.1" else None) == {"model.7": {"eps": 2}}


def test_a_network_without_a_repeat_keeps_the_activations_of_the_others(tmp_path: Path) -> None:
    changed = changed_network("yolov8", activate(nn.ReLU, layers=range(4, 5)))
    loaded, _ = load_detector(write(changed, tmp_path / "a.pt"))
    loaded.model[4].m[1].cv1.act = nn.Tanh()  # tells it from the first
    loaded.yaml[KEY]["model.4.m.1.cv1.act"] = {"class": "Tanh"}
    shallow = drop_repeats(loaded, [Repeat(4, 0)])
    assert isinstance(shallow.model[4].m[0].cv1.act, nn.Tanh)
    assert isinstance(shallow.model[4].m[0].cv2.act, nn.ReLU)
    assert not any(name.startswith("model.4.m.1") for name in shallow.yaml[KEY])
    save_detector(shallow, tmp_path / "folder", candidate=Candidate("same-1", ()))
    assert difference(load_detector(tmp_path / "folder")[0], shallow) <= 1e-5


def test_under_another_backbone_the_neck_keeps_its_activations(tmp_path: Path) -> None:
    changed = changed_network("yolov8", activate(nn.ReLU, layers=range(3, 13)))
    loaded, _ = load_detector(write(changed, tmp_path / "a.pt"))
    swapped = swap_backbone(loaded, "mobilenetv3_small")
    assert isinstance(swapped.model[12].cv1.act, nn.ReLU)
    assert {int(name.split(".")[1]) for name in swapped.yaml[KEY]} == {9, 12}  # its pooling stays, too
    save_detector(swapped, tmp_path / "folder", candidate=Candidate("same", ()))
    assert difference(load_detector(tmp_path / "folder")[0], swapped) <= 1e-5


def test_building_what_fails_leaves_the_activation_of_later_networks_as_it_was(tmp_path: Path) -> None:
    save_detector(changed_network("small", lambda _: None), tmp_path, candidate=Candidate("same", ()))
    path = tmp_path / "architecture.json"
    record = json.loads(path.read_text())
    record["yaml"]["activation"] = "nn.ReLU()"
    record["yaml"]["head"][2][3] = ["nearest"]  # no width, as shows when the layers before it are built
    path.write_text(json.dumps(record))
    with pytest.raises(BadInput, match="cannot be built"):
        load_detector(tmp_path)
    assert isinstance(Conv.default_act, nn.SiLU)


def slopes(model: DetectionModel) -> list[Tensor]:
    return [layer.weight for layer in model.modules() if isinstance(layer, nn.PReLU)]


def test_one_slope_for_all_stays_one_and_different_ones_stay_apart(tmp_path: Path) -> None:
    act = nn.PReLU(init=0.4)
    one = changed_network("small", activate(lambda: act))
    assert len(slopes(load_detector(write(one, tmp_path / "one.pt"))[0])) == 1
    many = changed_network("small", activate(nn.PReLU))
    many.model[0].act.weight.data.fill_(-0.5)
    loaded, _ = load_detector(write(many, tmp_path / "many.pt"))
    assert len(slopes(loaded)) > 1
    assert all(a.equal(b) for a, b in zip(outputs(loaded), outputs(many), strict=True))
