import json
from pathlib import Path

import numpy as np
import pytest

from evaluators.devices.device_file import MAX_BYTES, DeviceFile, Rates, read_device_file, write_device_file
from evaluators.devices.predictor import Geometry
from evaluators.latency.machine import this_machine
from spaces.errors import BadInput
from spaces.space import Space
from tests.spaces.chain import WIDTHS, chain_graph

N_RATES = 4 + 2 * 3  # the shared ones and two for each of the chain's convolutions


def device_file() -> DeviceFile:
    rates = Rates(blocks=(1, 1), rates=(0.1, 2.0, 0.5, *[0.0] * (N_RATES - 3)), parent_ms=1.5)
    return DeviceFile(
        machine=this_machine(), threads=1, cpus=(1,), parent="a" * 16, imgsz=64, blocks=tuple(WIDTHS.items()),
        n_networks=20, minutes=0.5, drift=0.02, fp32=rates, int8=rates.model_copy(update={"blocks": (4, 16)}),
    )  # fmt: skip


def test_written_and_read_is_the_same(tmp_path: Path) -> None:
    write_device_file(device_file(), tmp_path / "device.json")
    assert read_device_file(tmp_path / "device.json") == device_file()


def test_candidates_are_predicted_without_being_built() -> None:
    graph = chain_graph()
    space = Space(graph, align=1)
    narrow = space.encode(np.array([2, 3]))
    predicted = device_file().latency(space, graph)([space.parent, narrow])
    columns = Geometry.of(graph).columns(np.array([[6, 5], [2, 3]]), (1, 1))
    expected = 0.1 + 2 * columns[:, 1] + 0.5 * columns[:, 2]
    assert [each["latency_ms"] for each in predicted] == pytest.approx(expected.tolist())
    assert predicted[1]["int8_latency_ms"] > predicted[1]["latency_ms"]  # rounded up to 4 and 16 channels


@pytest.mark.parametrize(
    "change",
    [
        {"format": "yolo-budget-search/device/2"},
        {"threads": 0},
        {"threads": "1"},
        {"machine": ""},
        {"machine": "\x1b[31ma toaster"},
        {"n_networks": 10**4000},
        {"minutes": -1.0},
        {"colour": "red"},
        {"blocks": [["first"]]},
        {"fp32": {"blocks": [1, 1], "rates": [float("nan")], "parent_ms": 1.0}},
        {"fp32": {"blocks": [1, 1], "rates": [1e400], "parent_ms": 1.0}},
        {"int8": {"blocks": [0, 1], "rates": [1.0], "parent_ms": 1.0}},
        {"int8": {"blocks": [1, 1], "rates": [1.0] * 10_001, "parent_ms": 1.0}},
    ],
)
def test_a_file_of_another_shape_is_refused(change: dict[str, object], tmp_path: Path) -> None:
    path = tmp_path / "device.json"
    path.write_text(json.dumps({**device_file().model_dump(mode="json"), **change}), encoding="utf-8")
    with pytest.raises(BadInput, match="is no device file"):
        read_device_file(path)


def test_missing_cut_and_huge_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "device.json"
    with pytest.raises(BadInput, match="not found"):
        read_device_file(path)
    path.write_bytes(device_file().model_dump_json().encode()[:-20])
    with pytest.raises(BadInput, match="is no device file"):
        read_device_file(path)
    path.write_bytes(b" " * (MAX_BYTES + 1))
    with pytest.raises(BadInput, match="larger than"):
        read_device_file(path)


@pytest.mark.parametrize(
    ("use", "named"),
    [
        ({"parent": "b" * 16, "imgsz": 64, "threads": 1}, "weights of fingerprint"),
        ({"parent": "a" * 16, "imgsz": 320, "threads": 1}, "imgsz 64, not 320"),
        ({"parent": "a" * 16, "imgsz": 64, "threads": 2}, "threads 1, not 2"),
    ],
)
def test_another_use_than_that_of_the_profile_is_refused(use: dict[str, object], named: str) -> None:
    with pytest.raises(BadInput, match=named):
        device_file().check_use(**use)  # type: ignore[arg-type]
    device_file().check_use(parent="a" * 16, imgsz=64, threads=1)


def test_other_blocks_or_another_number_of_rates_are_refused() -> None:
    graph = chain_graph()
    space = Space(graph, align=1)
    with pytest.raises(BadInput, match="blocks are not those"):
        device_file().model_copy(update={"blocks": (("first", 6),)}).latency(space, graph)
    short = Rates(blocks=(1, 1), rates=(1.0,), parent_ms=1.0)
    with pytest.raises(BadInput, match="4 \\+ 2 x 3 rates"):
        device_file().model_copy(update={"int8": short}).latency(space, graph)


def test_rates_that_give_the_parent_no_time_are_refused() -> None:
    graph = chain_graph()
    space = Space(graph, align=1)
    for rate in (0.0, -1.0):
        nothing = Rates(blocks=(1, 1), rates=(rate,) * N_RATES, parent_ms=1.0)
        with pytest.raises(BadInput, match="no time above 0"):
            device_file().model_copy(update={"int8": nothing}).latency(space, graph)


def test_a_file_of_another_machine_names_both() -> None:
    assert device_file().foreign() is None
    warning = device_file().model_copy(update={"machine": "a toaster"}).foreign()
    assert warning is not None
    assert "[a toaster]" in warning
    assert f"[{this_machine()}]" in warning
