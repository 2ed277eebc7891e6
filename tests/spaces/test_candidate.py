import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spaces.candidate import Candidate
from spaces.errors import BadInput

names = st.text(st.characters(codec="ascii", exclude_categories=["Cc"]), min_size=1, max_size=12)
candidates = st.builds(
    lambda base, picks: Candidate(base, tuple(sorted(picks.items()))),
    names,
    st.dictionaries(names, st.integers(1, 1024), max_size=8),
)


@given(candidates)
def test_json_and_back_is_the_identity(candidate: Candidate) -> None:
    back = Candidate.from_json(json.loads(json.dumps(candidate.to_json())))
    assert back == candidate
    assert back.id == candidate.id


@given(candidates, candidates)
def test_ids_are_equal_only_for_equal_candidates(first: Candidate, second: Candidate) -> None:
    assert (first.id == second.id) == (first == second)


@pytest.mark.parametrize(
    "record", [{}, {"base": "same"}, {"base": 1, "picks": {}}, {"base": "same", "picks": {"a": 1.5}}]
)
def test_another_shape_is_refused(record: dict[str, object]) -> None:
    with pytest.raises(BadInput):
        Candidate.from_json(record)
