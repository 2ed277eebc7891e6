import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evaluators.metric import TASK_LOSSES
from search.methods.pagcp import Allowance, Cut, apply_cuts, compress, decay, find_cuts, order
from spaces.space import Keep
from tests.search.methods.rounds import Measured, chain_round, macs

PUBLISHED = Allowance()


def losses(box: float, kind: float, shape: float) -> dict[str, float]:
    return {"loss": box + kind + shape, **dict(zip(TASK_LOSSES, (box, kind, shape), strict=True))}


@pytest.mark.parametrize(("n_blocks", "expected"), [(52, 0.9769), (69, 0.9716), (86, 0.9693), (103, 0.9682)])
def test_lambda_is_that_of_yolov5s_m_l_and_x(n_blocks: int, expected: float) -> None:
    assert decay(n_blocks, allowance=PUBLISHED) == pytest.approx(expected, abs=5e-5)


@given(st.integers(2, 120), st.floats(0.01, 0.3), st.floats(1.5, 10))
def test_all_allowances_together_are_the_growth(n_blocks: int, first: float, growth: float) -> None:
    factor = decay(n_blocks, allowance=Allowance(first, growth))
    assert np.prod(1 + first * factor ** np.arange(n_blocks)) == pytest.approx(growth)


def test_blocks_come_by_the_macs_that_three_tenths_of_their_channels_save() -> None:
    # 30 % of 6 is 1.8, rounded up 5 stay: 64 * 32 saved; of 5 it is 1.5, 4 stay: 64 * 10
    around = chain_round(Measured(lambda _: {}))
    assert order(around, around.whole(), is_rising=False) == [0, 1]
    assert order(around, around.whole(), is_rising=True) == [1, 0]
    assert order(around, np.array([1, 5]), is_rising=False) == [1]  # what cannot be narrower is left out


def by_first(keep: Keep) -> dict[str, float]:
    """Return losses of which the box part grows with what the first block lacks, 4 % a channel."""
    return losses(1 + 0.04 * (6 - int(keep[0])), 1.0, 1.0)


def test_a_block_is_cut_until_the_most_damaged_task_breaks_the_threshold() -> None:
    # lambda of two blocks under .06 and 1.1: (1.06) (1 + .06 x) = 1.1, x = .6289
    allowance = Allowance(0.06, 1.1)
    assert decay(2, allowance=allowance) == pytest.approx((1.1 / 1.06 - 1) / 0.06)
    measure = Measured(by_first)
    around = chain_round(measure)
    cuts = find_cuts(around, around.whole(), allowance)
    # one channel of the first costs 4 % of the box loss, two 8 %: (5, .), although the whole loss grew by 2.7 % only;
    # the second block costs nothing and survives all steps: one channel is left
    assert [(cut.index, cut.count) for cut in cuts] == [(0, 5), (1, 1)]
    # the first costs .04 for 64 * 32 MACs, the second nothing
    assert cuts[0].price == pytest.approx(0.04 / (64 * 32 / 1e9))
    assert cuts[1].price == pytest.approx(0)
    assert measure.asked[:3] == [(6, 5), (5, 5), (4, 5)]


def test_thresholds_are_of_the_highest_losses_accepted_so_far() -> None:
    # box 1.05 after the first block is the new reference: 1.05 * (1 + .06 * .6289) = 1.0896 allows .035 more
    def read(keep: Keep) -> dict[str, float]:
        box = {6: 1.0, 5: 1.05}.get(int(keep[0]), 2.0)
        return losses(box, 1.0, 1 + 0.03 * (5 - int(keep[1])))

    around = chain_round(Measured(read))
    cuts = find_cuts(around, around.whole(), Allowance(0.06, 1.1))
    # the third task's threshold for the second block is .06 * .6289 = .0377 of 1: one channel costs .03, two .06
    assert [(cut.index, cut.count) for cut in cuts] == [(0, 5), (1, 4)]


def test_a_block_whose_first_step_breaks_the_threshold_is_left_whole() -> None:
    around = chain_round(Measured(lambda keep: losses(1 + 0.5 * (6 - int(keep[0])), 1.0, 1.0)))
    assert [cut.index for cut in find_cuts(around, around.whole(), Allowance(0.06, 1.1))] == [1]


def test_the_cheapest_cuts_are_applied_until_the_limit_is_met_and_the_last_one_in_part() -> None:
    around = chain_round(Measured(by_first), limit=macs(np.array([6, 3])))
    cuts = [Cut(0, 1, price=5.0), Cut(1, 1, price=1.0)]
    assert apply_cuts(around, around.whole(), cuts, n_kept=2).tolist() == [6, 3]
    far = chain_round(Measured(by_first), limit=macs(np.array([3, 1])))
    assert apply_cuts(far, far.whole(), cuts, n_kept=2).tolist() == [3, 1]
    assert apply_cuts(far, far.whole(), cuts, n_kept=1).tolist() == [6, 1]


def test_the_last_round_allows_more_until_the_limit_is_met_and_others_do_not() -> None:
    def read(keep: Keep) -> dict[str, float]:
        return losses(*(1 + 0.1 * float(11 - keep.sum()),) * 3)  # 10 % a channel: more than is allowed at first

    target = macs(np.array([4, 3]))
    around = chain_round(Measured(read), limit=target)
    last = compress(around)[0]
    assert around.use(around.space.decode(last.candidate)) <= 1
    early = compress(chain_round(Measured(read), limit=target, is_last=False))[0]
    assert early.candidate == around.space.parent
