import json
import math
from dataclasses import asdict, fields, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evaluators.result import Status
from evaluators.runtimes.precision import Precision
from leaderboards.detection_metrics import DetectionMetrics
from leaderboards.entry import PARENT, DeployedFile, Entry, Quality
from spaces.candidate import Candidate
from spaces.errors import BadInput
from tests.leaderboards.synthetic import make_entry, make_quality
from tests.spaces.test_candidate import candidates

numbers = st.floats(0, 1e6)
by_name = st.dictionaries(st.text(max_size=12), numbers, max_size=4)
metrics_of_detection = st.none() | st.builds(
    DetectionMetrics,
    **{field.name: by_name if field.name == "class_map50_95" else numbers for field in fields(DetectionMetrics)},
)
words = {"runtime": st.text(max_size=12), "precision": st.sampled_from(Precision), "file": st.text(max_size=12)}
more = {"execution": st.none() | st.text(max_size=40), "detection": metrics_of_detection}
files = st.builds(
    DeployedFile, **{field.name: (words | more).get(field.name, numbers) for field in fields(DeployedFile)}
)
parts = {
    "detection": metrics_of_detection,
    "worst_layers": st.none() | by_name,
    "files": st.lists(files, min_size=1, max_size=4).map(tuple),
}
qualities = st.builds(Quality, **{field.name: parts.get(field.name, numbers) for field in fields(Quality)})
entries = st.builds(
    Entry,
    id=st.text(max_size=12),
    candidate=candidates,
    strategy=st.sampled_from([PARENT, "random", "evolution"]),
    status=st.sampled_from(Status),
    proxy=st.none() | numbers,
    proxy_name=st.just("map50_95"),
    imgsz=st.integers(32, 1280),
    seed=st.integers(0, 2**63 - 1),
    epochs=st.integers(0, 100),
    seconds=numbers,
    quality=st.none() | qualities,
    error=st.text(max_size=40),
)
GOOD = make_entry("c1", make_quality(share=0.5), candidate=Candidate("same", (("g", 8),)), proxy=0.3).to_json()
MEASURED = make_quality(share=0.5).readings()
FILE = asdict(make_quality(share=0.5).own)


@given(entries)
def test_json_and_back_is_the_identity(entry: Entry) -> None:
    assert Entry.from_json(json.loads(json.dumps(entry.to_json(), allow_nan=False))) == entry


@given(qualities)
def test_readings_have_the_macs_as_half_the_flops(quality: Quality) -> None:
    assert quality.readings()["macs_g"] == quality.gflops / 2
    assert quality.readings()["size_mb"] == quality.own.size_mb


@pytest.mark.parametrize("name", sorted(GOOD))
def test_a_record_without_one_of_its_fields_is_refused(name: str) -> None:
    with pytest.raises(BadInput, match="not a leaderboard entry"):
        Entry.from_json({key: value for key, value in GOOD.items() if key != name})


@pytest.mark.parametrize(
    "change",
    [
        {"colour": "red"},
        {"candidate": []},
        {"status": "LOST"},
        {"quality": 0.5},
        {"quality": {}},
        {"quality": MEASURED},
        {"quality": {**asdict(make_quality(share=0.5)), "detection": 0.5}},
        {"quality": {**asdict(make_quality(share=0.5)), "detection": {"f1": 0.5}}},
        {"quality": {**asdict(make_quality(share=0.5)), "files": []}},
        {"quality": {**asdict(make_quality(share=0.5)), "files": 0.5}},
        {"quality": {**asdict(make_quality(share=0.5)), "files": [0.5]}},
        {"quality": {**asdict(make_quality(share=0.5)), "files": [{**FILE, "precision": "fp8"}]}},
        {"quality": {**asdict(make_quality(share=0.5)), "files": [{**FILE, "colour": "red"}]}},
        {"quality": {**asdict(make_quality(share=0.5)), "files": [{**FILE, "detection": {"f1": 0.5}}]}},
        *(
            {"quality": {**asdict(make_quality(share=0.5)), "files": [{key: FILE[key] for key in FILE if key != name}]}}
            for name in ("runtime", "precision", "file", "size_mb", "map50_95", "latency_ms", "latency_p95_ms")
        ),
    ],
)
def test_a_record_of_another_shape_is_refused(change: dict[str, object]) -> None:
    with pytest.raises(
        BadInput, match=r"not (a (leaderboard entry|deployed file)|detection metrics|what a row was measured to be)"
    ):
        Entry.from_json({**GOOD, **change})


def test_what_is_judged_is_no_budget() -> None:
    detection = DetectionMetrics(0.3, 0.8, 0.75, 0.85, 0.8, {"cat": 0.5})
    quality = replace(make_quality(share=0.5), detection=detection, worst_layers={"0": 12.0})
    assert quality.readings() == make_quality(share=0.5).readings()


def test_rows_of_earlier_versions_lack_what_was_not_measured_then() -> None:
    later = {field.name for field in fields(Quality) if field.default is None}
    later_of_file = {field.name for field in fields(DeployedFile) if field.default is None}
    quality = make_quality(share=0.5)
    quality = replace(quality, files=tuple(replace(file, error=None) for file in quality.files))
    record = make_entry("a", quality, candidate=Candidate("same", ()), proxy=None).to_json()
    measured = record["quality"]
    assert isinstance(measured, dict)
    old = {name: value for name, value in measured.items() if name not in later}
    old["files"] = [
        {name: value for name, value in file.items() if name not in later_of_file} for file in measured["files"]
    ]
    assert Entry.from_json({**record, "quality": old}).quality == quality
    assert (later | later_of_file) & set(quality.readings()) == {"bops_g"}  # 1024 a MAC, where no bits are known


def test_a_row_stands_for_its_first_file_and_the_others_are_found_by_precision_and_runtime() -> None:
    quality = make_quality(share=0.5)
    exact, int8 = quality.files
    other = replace(exact, runtime="openvino")
    more = replace(quality, files=(exact, other, int8))
    assert more.own == exact
    assert not more.has_bits
    assert (more.file(Precision.FP32), more.file(Precision.INT8)) == (exact, int8)
    assert more.file(Precision.FP32, "openvino") == other
    assert more.file(Precision.INT8, "openvino") is None
    assert replace(quality, files=(int8,)).has_bits
    assert replace(quality, files=(int8,)).file(Precision.FP32) is None


@given(qualities)
def test_each_file_has_its_own_size_and_latency_and_integers_have_at_most_eight_bits(quality: Quality) -> None:
    for file in quality.files:
        found = quality.readings(file)
        assert (found["size_mb"], found["latency_ms"]) == (file.size_mb, file.latency_ms)
        assert (found["gflops"], found["params_m"]) == (quality.gflops, quality.params_m)
        most = quality.gflops / 2 * (8 * 8 if file.precision is Precision.INT8 else math.inf)
        own = 32 * 32 * quality.gflops / 2 if quality.bops_g is None else quality.bops_g
        assert found["bops_g"] == pytest.approx(min(own, most))
    assert quality.readings() == quality.readings(quality.own)
