import json
from dataclasses import fields

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evaluators.result import Status
from leaderboards.entry import PARENT, Entry, Quality
from spaces.candidate import Candidate
from spaces.errors import BadInput
from tests.leaderboards.synthetic import make_entry, make_quality
from tests.spaces.test_candidate import candidates

numbers = st.floats(0, 1e6)
qualities = st.builds(Quality, **{field.name: numbers for field in fields(Quality)})
entries = st.builds(
    Entry,
    id=st.text(max_size=12),
    candidate=candidates,
    strategy=st.sampled_from([PARENT, "random", "nsga2"]),
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
    ],
)
def test_a_record_of_another_shape_is_refused(change: dict[str, object]) -> None:
    with pytest.raises(BadInput, match="not a leaderboard entry"):
        Entry.from_json({**GOOD, **change})


def test_rows_of_earlier_versions_lack_what_was_not_measured_then() -> None:
    later = {"latency_low_ms", "latency_high_ms", "preprocess_ms", "postprocess_ms", "sentinel_ms"}
    quality = make_quality(share=0.5)
    record = make_entry("a", quality, candidate=Candidate("same", ()), proxy=None).to_json()
    measured = record["quality"]
    assert isinstance(measured, dict)
    old = {**record, "quality": {name: value for name, value in measured.items() if name not in later}}
    assert Entry.from_json(old).quality == quality
    assert not later & set(quality.readings())
    assert quality.network_ms == quality.latency_ms
