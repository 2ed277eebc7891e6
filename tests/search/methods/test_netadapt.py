from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evaluators.result import Result, Status
from search.methods.netadapt import DECAY, FIRST_STEP, adapt, propose, schedule
from spaces.candidate import Candidate
from spaces.errors import NothingFeasible
from tests.search.methods.rounds import Measured, chain_round, macs


@given(st.floats(0.05, 3), st.floats(0.01, 0.99))
def test_savings_shrink_by_two_percent_and_end_at_the_target(start: float, share: float) -> None:
    target = share * start
    steps = [start, *schedule(start, target)]
    savings = -np.diff(steps)
    assert steps[-1] == target
    assert savings[1:] / savings[:-1] == pytest.approx(DECAY)
    if len(savings) < 40:  # shrinking savings of 3 % reach 1.5 times the start at most, and so always the target
        assert savings[0] <= FIRST_STEP * start * (1 + 1e-9)


def test_from_all_to_six_tenths_takes_16_steps() -> None:
    # first steps of 3 %: .03 (1 - .98 ** n) / .02 >= .4 from n = ln(1 - .4 * .02 / .03) / ln .98 = 15.4
    assert len(schedule(1.0, 0.6)) == 16
    assert schedule(1.0, 1.0) == schedule(0.5, 1.0) == []


def test_each_block_that_can_is_narrowed_as_little_as_the_step_asks_for() -> None:
    # (6, 5) has 64 * 212; taking 1 of the first saves 64 * 32, 1 of the second 64 * 10
    whole = macs(np.array([6, 5]))
    around = chain_round(Measured(lambda _: {}), limit=whole)
    keep = np.array([6, 5])
    assert np.array(propose(around, keep, wanted=1 - 9 / 212)).tolist() == [[5, 5], [6, 4]]
    assert np.array(propose(around, keep, wanted=1 - 33 / 212)).tolist() == [[4, 5], [6, 1]]
    assert np.array(propose(around, keep, wanted=1 - 60 / 212)).tolist() == [[4, 5]]  # all but one save 64 * 40


def test_where_no_block_saves_enough_alone_the_one_that_can_save_most_does() -> None:
    around = chain_round(Measured(lambda _: {}), limit=macs(np.array([6, 5])))
    assert np.array(propose(around, np.array([6, 5]), wanted=0.01)).tolist() == [[1, 5]]
    assert propose(around, np.array([1, 1]), wanted=0.01) == []


def test_every_step_takes_the_proposal_of_the_lowest_loss() -> None:
    # the first block is dear: all is taken from the second, until nothing is left of it
    measure = Measured(lambda keep: {"loss": 10.0 * (6 - keep[0]) + (5 - keep[1])})
    found = adapt(chain_round(measure, limit=macs(np.array([6, 3]))))
    assert [result.candidate for result in found] == [Candidate("same", (("second", 3),))]


def test_the_last_step_is_met_even_where_a_block_alone_cannot() -> None:
    measure = Measured(lambda keep: {"loss": float(-keep.sum())})
    around = chain_round(measure, limit=macs(np.array([2, 2])))
    found = adapt(around)
    assert around.use(around.space.decode(found[0].candidate)) <= 1


def test_a_network_within_the_limits_is_measured_and_kept() -> None:
    measure = Measured(lambda _: {"loss": 1.0})
    assert [result.candidate for result in adapt(chain_round(measure, limit=1e9))] == [Candidate("same", ())]


def test_a_step_whose_proposals_all_fail_ends_the_search() -> None:
    class Failing(Measured):
        def __call__(self, candidates: Sequence[Candidate], /) -> list[Result]:
            return [replace(result, status=Status.FAILED) for result in super().__call__(candidates)]

    with pytest.raises(NothingFeasible, match="proposals of a step failed"):
        adapt(chain_round(Failing(lambda _: {"loss": 1.0}), limit=macs(np.array([4, 4]))))
