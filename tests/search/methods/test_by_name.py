import inspect
from pkgutil import resolve_name

import pytest

from search.methods.by_name import METHODS


@pytest.mark.parametrize("name", METHODS)
def test_every_row_names_its_arithmetic_and_what_scores_and_joins_its_layers(name: str) -> None:
    row = METHODS[name]
    assert row.name == name
    inspect.signature(resolve_name(row.decide)).bind("round")  # each raises if it takes anything else
    inspect.signature(resolve_name(row.scores)).bind("network", "graph")
    inspect.signature(resolve_name(row.joined)).bind("scores")
