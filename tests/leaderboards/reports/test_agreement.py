from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evaluators.result import Result, Status
from leaderboards.reports.agreement import agreement, agreement_by_reading, correlate
from tests.leaderboards.synthetic import make_board

DISTINCT = st.lists(st.integers(-1000, 1000), min_size=4, max_size=12, unique=True)


def naive_kendall(x: list[float], y: list[float]) -> float:
    """Return (concordant - discordant) / pairs, for values without ties."""
    pairs = list(combinations(range(len(x)), 2))
    return sum(1 if (x[i] - x[j]) * (y[i] - y[j]) > 0 else -1 for i, j in pairs) / len(pairs)


def naive_spearman(x: list[float], y: list[float]) -> float:
    """Return 1 - 6 sum(d ** 2) / (n ** 3 - n), for values without ties."""
    first, second = ([sorted(values).index(value) for value in values] for values in (x, y))
    squares = sum((a - b) * (a - b) for a, b in zip(first, second, strict=True))
    return 1 - 6 * squares / (len(x) ** 3 - len(x))


@given(st.data())
def test_correlations_equal_their_definitions(data: st.DataObject) -> None:
    x = data.draw(DISTINCT)
    values, other = [float(value) for value in x], [float(value) for value in data.draw(st.permutations(x))]
    found = correlate(values, other)
    assert found is not None
    assert found.n == len(x)
    assert found.kendall == pytest.approx(naive_kendall(values, other))
    assert found.spearman == pytest.approx(naive_spearman(values, other))


def test_fewer_than_four_or_constant_values_give_no_number() -> None:
    assert correlate([1.0, 2.0, 3.0], [1.0, 2.0, 3.0]) is None
    assert correlate([1.0] * 5, [1.0, 2.0, 3.0, 4.0, 5.0]) is None


def test_the_parent_and_failed_rows_are_not_counted() -> None:
    found = agreement(make_board())
    assert found is not None
    assert found.n == 5


def test_a_loss_that_falls_as_the_map_rises_agrees() -> None:
    found = correlate([-4.0, -3.0, -2.0, -1.0], [0.1, 0.2, 0.3, 0.4])
    assert found is not None
    assert (found.spearman, found.kendall) == pytest.approx((1.0, 1.0))
    assert found.kendall_p == pytest.approx(2 / 24)  # 2 of the 4! orders are as extreme


def test_each_reading_of_the_fine_tuned_rows_is_compared_and_the_best_comes_first() -> None:
    board = make_board()
    rows = [entry for entry in board.rows if entry.quality]
    scores = [entry.quality.map50_95 for entry in rows if entry.quality]
    readings = [{"macs_g": score, "loss": -score, "zen": abs(score - 0.45), "map50": 0.5} for score in scores]
    results = [
        Result(number, entry.candidate, Status.DONE, values, 0.0)
        for number, (entry, values) in enumerate(zip(rows, readings, strict=True))
    ]
    del readings[2]["map50"]
    found = agreement_by_reading(board, results)
    assert list(found)[:2] == ["MACs", "task loss"]  # both perfect; macs_g comes first among the metrics
    assert found["task loss"].spearman == pytest.approx(1.0)
    assert found["task loss"].n == 5
    assert found["Zen score"].regret == pytest.approx(max(scores) - max(scores, key=lambda score: abs(score - 0.45)))
    assert agreement_by_reading(board, []) == {}
