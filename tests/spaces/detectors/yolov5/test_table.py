"""The tables of seed 002, to the unit: reference/seed_algorithms.md, section 5.7, nc = 10 unless it says otherwise."""

from collections.abc import Iterator, Mapping
from functools import cache

import pytest
import torch
from torch import nn

from leaderboards.benchmarks.cuts.structures import PUBLISHED, compare, is_printed_as, seed_gflops, work
from spaces.detectors.yolov5.detector import SPECS, AnchorDetector, load_spec

COUNTED: Mapping[str, tuple[int, float, float]] = {  # parameters, GFLOPs by the seed's rule, 2 x true MACs at 640 px
    "yolov5n": (1_777_447, 4.21, 4.17),
    "yolov5s": (7_046_599, 15.93, 15.83),
    "yolov5m": (20_907_687, 48.15, 47.97),
    "yolov5l": (46_186_759, 108.08, 107.79),
    "yolov5x": (86_278_375, 204.38, 203.94),
    "yolov5xP2": (90_963_540, 314.20, 313.47),
    "yolov5xP2-CBAM": (91_309_630, 315.09, 314.13),
    "yolov5x-TPH": (112_972_952, 270.82, 269.76),
    "yolov5l-ghostnet": (24_278_863, 42.39, 41.09),
    "yolov5l-shufflenetv2": (21_267_839, 40.51, 40.37),
    "yolov5l-mobilenetv3small": (20_375_189, 38.40, 37.91),
    "yolov5l-efficientlite0": (23_011_527, 43.87, 43.57),
    "yolov5l-pplcnet": (21_646_423, 41.65, 41.46),
}


def on_meta(spec: Mapping[str, object]) -> AnchorDetector:
    with torch.device("meta"):
        return AnchorDetector(spec)


@cache
def model(name: str) -> AnchorDetector:
    return on_meta(load_spec(name, n_classes=10))


@pytest.fixture(scope="module", autouse=True)
def forget() -> Iterator[None]:
    yield
    model.cache_clear()


def n_parameters(network: AnchorDetector) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


@pytest.mark.parametrize("name", COUNTED)
def test_parameters_gflops_and_true_macs_are_those_of_the_table(name: str) -> None:
    expected, gflops, gflops_640 = COUNTED[name]
    assert n_parameters(model(name)) == expected
    assert round(seed_gflops(model(name)), 2) == gflops
    assert round(2 * work(model(name), imgsz=640).macs / 1e9, 2) == gflops_640


def test_the_table_is_complete_but_for_swin_which_was_never_published() -> None:
    assert set(SPECS) - set(COUNTED) == {"yolov5x-Swin"}
    assert set(PUBLISHED) == set(COUNTED)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("yolov5n", 1_872_157),
        ("yolov5s", 7_235_389),
        ("yolov5m", 21_190_557),
        ("yolov5l", 46_563_709),
        ("yolov5x", 86_749_405),
    ],
)
def test_with_80_classes_it_is_the_yolov5_that_everyone_knows(name: str, expected: int) -> None:
    # each class adds 3 anchors x (width + bias) at each level, to what the table counts with 10
    widths = [layer.in_channels for layer in model(name).head.m if isinstance(layer, nn.Conv2d)]
    assert n_parameters(model(name)) + 70 * sum(3 * (width + 1) for width in widths) == expected
    if name == "yolov5n":
        assert n_parameters(on_meta(load_spec(name))) == expected


def test_the_later_versions_of_two_structures_are_a_row_apart() -> None:
    """Section 5.7, "HEAD": the neck takes layers 9 and 5 of GhostNet; layer 2 of EfficientNet-Lite has a gate."""
    ghost = load_spec("yolov5l-ghostnet", n_classes=10)
    backbone, head = ghost["backbone"], ghost["head"]
    assert isinstance(backbone, list)
    assert isinstance(head, list)
    head[2][0], head[6][0] = [-1, 9], [-1, 5]
    assert n_parameters(on_meta(ghost)) == 24_295_247
    lite = load_spec("yolov5l-efficientlite0", n_classes=10)
    backbone = lite["backbone"]
    assert isinstance(backbone, list)
    backbone[2][3] = [*backbone[2][3], True]
    assert n_parameters(on_meta(lite)) == 23_016_255


def test_the_first_layers_of_each_light_backbone_have_the_parameters_of_section_5() -> None:
    expected = {
        "yolov5l-ghostnet": [464, 464, 2_564, 2_352, 7_810, 13_190, 22_920, 49_308],
        "yolov5l-shufflenetv2": [696, 7_848, 24_480, 44_824, 201_376, 168_432, 334_080, 1_060_432],
        "yolov5l-mobilenetv3small": [464, 612, 3_864, 5_416, 13_736, 55_340, 55_340, 21_486],
        "yolov5l-efficientlite0": [928, 896, 9_864 - 4_728, 8_832, 13_472, 26_240, 32_080, 83_200],  # no gate
        "yolov5l-pplcnet": [464, 752, 2_528, 4_928, 9_152, 18_048, 34_688, 364_800],
    }
    for name, counts in expected.items():
        found = [sum(parameter.numel() for parameter in layer.parameters()) for layer in model(name).model]
        assert found[: len(counts)] == counts


@pytest.mark.parametrize(
    ("value", "printed", "is_same"),
    [(24.2789, 24.27, True), (24.2789, 24.28, True), (24.2789, 24.29, False), (24.2789, 24.26, False)],
)
def test_a_figure_may_be_rounded_or_cut_off(value: float, printed: float, is_same: bool) -> None:
    assert is_printed_as(value, printed, digits=2) is is_same


def test_the_benchmark_tells_a_structure_that_is_another() -> None:
    assert compare("yolov5n", 1.78, 4.2)["holds"]
    assert not compare("yolov5n", 1.87, 4.2)["holds"]
    assert not compare("yolov5n", 1.78, 4.5)["holds"]
