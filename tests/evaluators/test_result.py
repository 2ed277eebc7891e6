import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evaluators.result import Result, Status
from spaces.candidate import Candidate
from spaces.errors import BadInput
from tests.spaces.test_candidate import candidates

results = st.builds(
    Result,
    st.integers(0, 10**6),
    candidates,
    st.sampled_from(Status),
    st.dictionaries(st.text(max_size=8), st.floats(allow_nan=False, allow_infinity=False), max_size=4),
    st.floats(0, 1e5).map(lambda seconds: round(seconds, 4)),
    st.text(max_size=40),
)
GOOD = Result(3, Candidate("same", (("g", 8),)), Status.DONE, {"macs_g": 1.0}, 0.5).to_json()


@given(results)
def test_json_and_back_is_the_identity(result: Result) -> None:
    assert Result.from_json(json.loads(json.dumps(result.to_json(), allow_nan=False))) == result


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_reading_that_is_not_finite_is_refused(value: float) -> None:
    with pytest.raises(ValueError, match="readings must be finite"):
        Result(0, Candidate("same", ()), Status.DONE, {"map50_95": value}, 0.0)


@pytest.mark.parametrize("name", sorted(GOOD))
def test_a_record_without_one_of_its_fields_is_refused(name: str) -> None:
    with pytest.raises(BadInput, match="not a result"):
        Result.from_json({key: value for key, value in GOOD.items() if key != name})


@pytest.mark.parametrize(
    "change", [{"number": "3"}, {"status": "LOST"}, {"readings": {"macs_g": "1"}}, {"readings": {"macs_g": math.nan}}]
)
def test_a_record_with_a_value_of_another_kind_is_refused(change: dict[str, object]) -> None:
    with pytest.raises(BadInput, match="not a result"):
        Result.from_json({**GOOD, **change})
