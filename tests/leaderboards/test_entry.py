import json
from dataclasses import asdict, fields, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evaluators.result import Status
from leaderboards.entry import PARENT, Entry, Quality
from leaderboards.judgement import Judgement
from spaces.candidate import Candidate
from spaces.errors import BadInput
from tests.leaderboards.synthetic import make_entry, make_quality
from tests.spaces.test_candidate import candidates

numbers = st.floats(0, 1e6)
by_name = st.dictionaries(st.text(max_size=12), numbers, max_size=4)
judgements = st.none() | st.builds(
    Judgement,
    **{field.name: by_name if field.name == "class_map50_95" else numbers for field in fields(Judgement)},
)
parts = {"judged": judgements, "int8_judged": judgements, "worst_layers": st.none() | by_name}
words = {"int8_execution": st.none() | st.text(max_size=40)}
qualities = st.builds(Quality, **{field.name: (parts | words).get(field.name, numbers) for field in fields(Quality)})
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


@given(entries)
def test_json_and_back_is_the_identity(entry: Entry) -> None:
    assert Entry.from_json(json.loads(json.dumps(entry.to_json(), allow_nan=False))) == entry


@given(qualities)
def test_readings_have_the_macs_as_half_the_flops(quality: Quality) -> None:
    assert quality.readings()["macs_g"] == quality.gflops / 2
    assert quality.readings()["size_mb"] == quality.size_mb


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
        {"quality": {**asdict(make_quality(share=0.5)), "judged": 0.5}},
        {"quality": {**asdict(make_quality(share=0.5)), "judged": {"f1": 0.5}}},
    ],
)
def test_a_record_of_another_shape_is_refused(change: dict[str, object]) -> None:
    with pytest.raises(BadInput, match=r"not a (leaderboard entry|judgement)"):
        Entry.from_json({**GOOD, **change})


def test_what_is_judged_is_no_budget() -> None:
    judged = Judgement(0.3, 0.8, 0.75, 0.85, 0.8, {"cat": 0.5})
    quality = replace(make_quality(share=0.5), judged=judged, worst_layers={"0": 12.0})
    assert quality.readings() == make_quality(share=0.5).readings()


def test_rows_of_earlier_versions_lack_what_was_not_measured_then() -> None:
    later = {field.name for field in fields(Quality) if field.default is None}
    quality = make_quality(share=0.5)
    record = make_entry("a", quality, candidate=Candidate("same", ()), proxy=None).to_json()
    measured = record["quality"]
    assert isinstance(measured, dict)
    old = {**record, "quality": {name: value for name, value in measured.items() if name not in later}}
    assert Entry.from_json(old).quality == quality
    assert later & set(quality.readings()) == {"bops_g"}  # 1024 of them a MAC, where no bits are known
    assert quality.network_ms == quality.latency_ms
