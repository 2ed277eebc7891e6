from collections.abc import Callable

import pytest

from spaces.detectors.yolov5.detector import LAYERS, SPECS, AnchorDetector, load_spec
from spaces.detectors.yolov5.spec import read_spec
from spaces.errors import BadInput
from tests.spaces.detectors.yolov5.tiny import tiny_spec

Record = dict[str, object]
Change = Callable[[Record], object]


def small() -> Record:
    """Return a network of a stem, a C3, a join and a head of one level."""
    return {
        "nc": 2,
        "depth_multiple": 0.5,
        "width_multiple": 0.5,
        "anchors": [[10, 13, 16, 30]],
        "backbone": [[-1, 1, "Conv", [18, 3, 2]], [-1, 3, "C3", [32]]],
        "head": [[[-1, 0], 1, "Concat", [1]], [[2], 1, "Detect", ["nc", "anchors"]]],
    }


def changed(section: str, row: int, column: int, value: object) -> Record:
    spec = small()
    rows = spec[section]
    assert isinstance(rows, list)
    rows[row][column] = value
    return spec


def test_widths_are_rounded_up_to_8_and_depths_to_the_nearest() -> None:
    spec = read_spec(small(), tuple(LAYERS))
    assert [spec.width(18), spec.width(16), spec.width(1)] == [16, 8, 8]
    assert [row.repeats for row in spec.rows] == [1, 2, 1, 1]  # round(0.5) is 0, so 1; round(1.5) is 2


def test_a_row_knows_what_it_reads_and_what_must_be_remembered_for_it() -> None:
    join = read_spec(small(), tuple(LAYERS)).rows[2]
    assert join.sources(2) == [1, 0]
    assert join.remembered(2) == [0]


def test_the_small_network_is_what_it_says() -> None:
    model = AnchorDetector(small())
    assert model.save == [0, 2]
    assert model.stride.tolist() == [2.0]
    assert [str(layer.type) for layer in model.model] == ["Conv", "C3", "Concat", "Detect"]
    assert [name for name, _ in model.named_modules() if name in {f"model.1.m.{n}" for n in range(9)}] == [
        "model.1.m.0",
        "model.1.m.1",
    ]
    assert model.head.m[0].in_channels == 32  # 16 and 16 joined


def test_a_repeated_plain_layer_is_a_chain() -> None:
    model = AnchorDetector(changed("backbone", 1, slice(1, 4), [4, "Bottleneck", [18]]))  # type: ignore[arg-type]
    names = [name for name, _ in model.model[1].named_parameters()]
    assert names[0] == "0.cv1.conv.weight"
    assert names[-1] == "1.cv2.bn.bias"  # round(4 * 0.5) of them


@pytest.mark.parametrize("name", SPECS)
def test_every_specification_names_known_layers_only(name: str) -> None:
    assert read_spec(load_spec(name), tuple(LAYERS)).n_classes == 80


def test_an_unknown_specification_is_refused_with_those_there_are() -> None:
    with pytest.raises(BadInput, match=r"must be one of yolov5n, .*, got 'yolov5z'"):
        load_spec("yolov5z")


@pytest.mark.parametrize(
    ("key", "value", "told"),
    [
        ("nc", 0, "nc must be a whole number from 1"),
        ("nc", True, "nc must be a whole number"),
        ("nc", 10**400, "nc must be a whole number"),
        ("depth_multiple", 0, "depth_multiple must be above 0"),
        ("width_multiple", float("nan"), "width_multiple must be above 0"),
        ("width_multiple", "1", "width_multiple must be above 0"),
        ("anchors", 3, "anchors must be 1 lists"),
        ("anchors", [[10, 13], [16, 30]], "anchors must be 1 lists"),
        ("anchors", [[10, 13, 16]], "as many widths and heights"),
        ("anchors", [[10, -13]], "sides in pixels, above 0"),
        ("backbone", "Conv", "backbone must be a list"),
        ("head", [], "the last row, and no other, must be a Detect"),
        ("activation", "nn.LeakyReLU(0.1)", r"activation must be nn.SiLU\(\), got 'nn.LeakyReLU"),
    ],
)
def test_a_key_that_makes_no_sense_is_refused(key: str, value: object, told: str) -> None:
    with pytest.raises(BadInput, match=told):
        AnchorDetector({**small(), key: value})


@pytest.mark.parametrize(
    ("spec", "told"),
    [
        (changed("backbone", 0, 2, "os.system"), "row 0 must name a layer of Conv, .*, got 'os.system'"),
        (changed("backbone", 0, 2, ["Conv"]), "row 0 must name a layer"),
        (changed("backbone", 0, 0, 0), "row 0 must read rows before it, got 0"),
        (changed("head", 0, 0, [-1, 2]), "row 2 must read rows before it"),
        (changed("head", 0, 0, [-1, -9]), "row 2 must read rows before it"),
        (changed("head", 1, 0, -1), "a Detect must read a list of rows, got -1"),
        (changed("backbone", 1, 1, 10**9), "row 1 must repeat 1 to 500 times"),
        (changed("backbone", 1, 1, 0.5), "row 1 must repeat 1 to 500 times"),
        (changed("backbone", 1, 3, 32), "row 1 must have a list of at most 8 arguments"),
        (changed("backbone", 1, 3, [32, {"a": 1}]), "row 1 may have small numbers, flags and names"),
        (changed("backbone", 1, 3, [32, 10**30]), "row 1 may have small numbers"),
        (changed("backbone", 1, 3, [10_000]), "a width must be from 1 to 8192, got 10000"),
        (changed("backbone", 0, 3, []), "row 0, Conv, cannot be built from its arguments"),
        (changed("backbone", 0, 3, [18, 3, 2, 1, 5]), "row 0, Conv, cannot be built"),
        (changed("backbone", 0, 3, [16_000, 16_000]), "a width must be from 1"),
        (changed("backbone", 0, 3, [8192, 1000]), "row 0 is above that"),  # 4096 x 3 x 1000 x 1000
        (changed("backbone", 0, 3, [8192, 3, 1, 9000]), "row 0, Conv, makes a map of"),
        (changed("backbone", 0, 3, [18, 3, 3]), r"the sides of the levels must divide 256 pixels, got \[\(86, 86\)\]"),
        (changed("backbone", 1, 3, [32, True, 7]), "row 1, C3, cannot be built"),  # 7 groups of 8 channels
        (changed("head", 0, 3, [2]), "do not fit each other"),
        (changed("head", 0, 2, "Conv"), "do not fit each other: conv2d"),  # a convolution reads no list
    ],
)
def test_a_row_that_makes_no_sense_is_refused_before_it_takes_memory(spec: Record, told: str) -> None:
    with pytest.raises(BadInput, match=told) as caught:
        AnchorDetector(spec)
    assert "\n" not in str(caught.value)


def test_a_network_of_absurdly_many_layers_is_refused() -> None:
    spec = small()
    spec["depth_multiple"] = 8.0
    rows = spec["backbone"]
    assert isinstance(rows, list)
    rows[1][1] = 100
    with pytest.raises(BadInput, match="at most 500 layers"):
        AnchorDetector(spec)


def test_building_leaves_the_specification_as_it_was() -> None:
    spec = tiny_spec("yolov5l-shufflenetv2")
    before = repr(spec)
    model = AnchorDetector(spec)
    model.yaml["nc"] = 7
    assert repr(spec) == before
