import json
import re
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import plotly.graph_objects as go

from leaderboards.leaderboard import Leaderboard
from leaderboards.reports import charts
from leaderboards.reports.chart_style import add_stair_
from spaces.candidate import Candidate
from tests.leaderboards.synthetic import BLOCKS, HOSTILE, make_board, make_results
from tests.leaderboards.test_leaderboard import board_of

RESULTS = make_results(np.random.default_rng(0))


def traces_of(chart: str) -> list[dict[str, object]]:
    """Return the traces that a chart's script plots."""
    match = re.search(r'Plotly\.newPlot\(\s*"[^"]+",\s*(\[.*?\]),\s*\{"', chart, re.S)
    assert match is not None
    traces = json.loads(match.group(1))
    assert isinstance(traces, list)
    return traces


def test_the_stair_is_the_best_map_within_each_cost() -> None:
    figure = go.Figure()
    add_stair_(figure, [(3.0, 0.5), (1.0, 0.2), (2.0, 0.1), (2.5, 0.4), (2.5, 0.3)])
    assert list(zip(figure.data[0].x, figure.data[0].y, strict=True)) == [(1.0, 0.2), (2.5, 0.4), (3.0, 0.5)]


def test_the_macs_limit_is_twice_as_much_in_gflops() -> None:
    assert charts.gflops_limit(board_of([], {"macs_g": 2.0})) == 4.0
    assert charts.gflops_limit(board_of([], {"macs_g": 2.0, "gflops": 3.0})) == 3.0
    assert charts.gflops_limit(board_of([], {})) is None


def test_each_chart_has_the_parent_as_a_star_and_one_mark_for_each_measured_row() -> None:
    for axis in charts.AXES:
        symbols = re.findall(r'"symbol":"([a-z-]+)"', charts.trade_off(make_board(), RESULTS, axis))
        assert symbols.count("star") == 1
        assert len(symbols) == 6


def test_a_hostile_id_is_escaped_in_hovers() -> None:
    board = make_board()
    evil = replace(board.rows[0], id=HOSTILE + "2")
    hostile = Leaderboard([board.parent, evil], {})
    chart = charts.trade_off(hostile, RESULTS, charts.AXES[0]) + charts.precisions(hostile) + charts.agreement(hostile)
    assert HOSTILE not in chart
    assert "\\u003cimg" not in chart  # what Plotly would read as an element


def heat_map(candidate: Candidate, bases: Mapping[str, charts.Blocks]) -> dict[str, object]:
    """Return the trace of a board of five rows of the parent and one of `candidate`."""
    board = make_board()
    other = replace(board.rows[0], id="other", candidate=candidate)
    (drawn,) = traces_of(charts.widths(Leaderboard([*board.entries, other], {}), BLOCKS, bases))
    return drawn


def shares_of(name: str, drawn: dict[str, object]) -> list[object]:
    """Return the row of the candidate called `name`."""
    names, rows = drawn["y"], drawn["z"]
    assert isinstance(names, list)
    assert isinstance(rows, list)
    (shares,) = [row for label, row in zip(names, rows, strict=True) if label.endswith(name)]
    assert isinstance(shares, list)
    return shares


def test_rows_of_a_base_that_has_none_of_the_blocks_or_is_unknown_are_not_in_the_heat_map() -> None:
    other = Candidate("ghostnet", (("stem.conv", 8),))
    for bases in ({}, {"ghostnet": [("stem.conv", 16)]}):
        rows = heat_map(other, bases)["y"]
        assert isinstance(rows, list)
        assert len(rows) == 5


def test_a_block_of_another_base_starts_at_its_width_there_and_is_a_gap_where_it_is_gone() -> None:
    (first, size), (second, wide), *_ = BLOCKS
    drawn = heat_map(
        Candidate("same-1+s2", ((first, size // 4),)), {"same-1+s2": [(first, size // 2), (second, wide // 2)]}
    )
    assert shares_of("other", drawn)[:3] == [0.25, 0.5, None]


def test_bits_do_not_hide_a_row() -> None:
    (name, size), *_ = BLOCKS
    drawn = heat_map(Candidate("same", ((name, size // 2), ("0.conv:weight_bits", 4))), {})
    assert shares_of("other", drawn)[:2] == [0.5, 1.0]


def test_the_best_so_far_never_gets_worse() -> None:
    _, best = traces_of(charts.progress(make_board(), RESULTS))
    values = best["y"]
    assert isinstance(values, list)
    assert values == sorted(values)
