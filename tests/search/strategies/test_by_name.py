import pytest

from evaluators.budget import Budget
from search.loop import rng_for
from search.strategies.by_name import STRATEGIES, make_strategy
from search.strategy import SearchSetup
from spaces.candidate import Candidate
from tests.search.toy import OBJECTIVES, ToySpace, decode

LIMITS = {"macs_g": 20.0}


@pytest.mark.parametrize("name", STRATEGIES)
def test_every_row_makes_a_strategy_that_proposes_within_the_limits_or_what_is_fixed(name: str) -> None:
    row, space = STRATEGIES[name], ToySpace(4)
    fixed = (Candidate("same", (("mask.weight", 30),)),) if row.is_control else ()
    setup = SearchSetup(space, {"same": space}, LIMITS, OBJECTIVES, Budget(LIMITS), 0.5, fixed)
    assert row.name == name
    strategy = make_strategy(name, setup)
    proposed = [strategy.ask(rng_for(0, number)) for number in range(3)]
    if row.is_control:
        assert proposed == [*fixed] * 3
    else:
        assert all(decode(candidate).sum() <= LIMITS["macs_g"] for candidate in proposed)
