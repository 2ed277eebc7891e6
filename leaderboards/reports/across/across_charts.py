"""The charts of a comparison: rows with their intervals, and what each search had found by when.

One colour means one label on the whole page; the band reaches from the least to the largest of its seeds.
"""

import html
from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go

from leaderboards.reports.across.board import Across, Standing
from leaderboards.reports.across.curves import Band, band_of
from leaderboards.reports.across.past_run import PastRun, boxes_of
from leaderboards.reports.chart_style import PARENT_COLOUR, add_stair_, to_html
from leaderboards.wording import one_line

PALETTE = (
    "#1f5fae", "#c0362c", "#2e8b57", "#8a4fbf", "#b8860b", "#0d8f9c", "#d1478c", "#5b6b7f", "#6f8f1f", "#a0522d",
    "#3c4fd0", "#7a7a00",
)  # fmt: skip


def colours_of(across: Across, /) -> dict[str, str]:
    """Return the colour of each label."""
    labels = list(dict.fromkeys(across.labels.values()))
    return {label: PALETTE[place % len(PALETTE)] for place, label in enumerate(labels)}


def trade_off(across: Across, /) -> str:
    """Return mAP against GFLOPs of all rows, whiskers over the images, and their front as a stair."""
    figure, colours = go.Figure(), colours_of(across)
    measured = [standing for standing in across.standings if standing.quality]
    add_stair_(figure, [(each.quality.gflops, each.quality.map50_95) for each in measured if each.quality])
    figure.data[0].showlegend = False
    for label, colour in colours.items():
        mine = [each for each in measured if across.labels[each.run.name] == label and not each.is_parent]
        _add_rows_(figure, mine, label, colour=colour)
    _add_rows_(figure, [each for each in measured if each.is_parent], "parent", colour=PARENT_COLOUR)
    return to_html(figure, "across-trade", x="GFLOPs", y="mAP50-95, whiskers: 95 % of resampled images", height=460,
                   legend=True)  # fmt: skip


def evaluations_chart(runs: dict[str, list[PastRun]], colours: dict[str, str], /, *, name: str) -> str:
    """Return the hypervolume of each label after so many evaluations."""
    boxes = boxes_of(_all(runs))
    curves = {label: [run.by_evaluations(boxes[run.name]) for run in mine if run.name in boxes]
              for label, mine in runs.items()}  # fmt: skip
    return _bands({label: band_of(mine) for label, mine in curves.items() if mine}, colours, name, x="evaluations")


def seconds_chart(runs: dict[str, list[PastRun]], colours: dict[str, str], /, *, name: str) -> str:
    """Return the hypervolume of each label after so many seconds of its search."""
    boxes = boxes_of(_all(runs))
    curves = {label: [run.by_seconds(boxes[run.name]) for run in mine if run.name in boxes]
              for label, mine in runs.items()}  # fmt: skip
    return _bands({label: band_of(mine) for label, mine in curves.items() if mine}, colours, name, x="seconds")


def _all(runs: dict[str, list[PastRun]]) -> list[PastRun]:
    return [run for mine in runs.values() for run in mine]


def _bands(bands: dict[str, Band], colours: dict[str, str], name: str, *, x: str) -> str:
    figure = go.Figure()
    for label, band in bands.items():
        shown, colour = html.escape(one_line(label)), colours[label]
        x_steps, high, low = (np.repeat(band.x, 2)[1:], *(np.repeat(y, 2)[:-1] for y in (band.high, band.low)))
        figure.add_scatter(
            x=[*x_steps, *x_steps[::-1]], y=[*high, *low[::-1]], fill="toself", fillcolor=colour, opacity=0.15,
            mode="lines", line={"width": 0}, hoverinfo="skip", showlegend=False, legendgroup=shown,
        )  # fmt: skip
        figure.add_scatter(
            x=list(band.x), y=list(band.mean), mode="lines", name=shown, legendgroup=shown,
            line={"color": colour, "width": 2.5, "shape": "hv"},
            hovertemplate=f"{shown}<br>%{{x:.4g}} {x}: %{{y:.3f}}<extra></extra>",
        )  # fmt: skip
    return to_html(figure, name, x=x, y="hypervolume of the search", legend=True)


def _add_rows_(figure: go.Figure, rows: Sequence[Standing], label: str, *, colour: str) -> None:
    if not rows:
        return
    qualities = [each.quality for each in rows if each.quality]
    intervals = [each.place.interval if each.place else None for each in rows]
    up = [0 if each is None else each.high - q.map50_95 for each, q in zip(intervals, qualities, strict=True)]
    down = [0 if each is None else q.map50_95 - each.low for each, q in zip(intervals, qualities, strict=True)]
    is_parent = rows[0].is_parent
    symbols = ["star" if is_parent else "circle" if each.is_on_front else "circle-open" for each in rows]
    figure.add_scatter(
        x=[quality.gflops for quality in qualities], y=[quality.map50_95 for quality in qualities],
        mode="markers+text", name=html.escape(one_line(label)), cliponaxis=False,
        marker={"size": 15 if is_parent else 9, "symbol": symbols, "color": colour, "line": {"width": 1.5}},
        error_y={"type": "data", "symmetric": False, "array": up, "arrayminus": down, "thickness": 1.1, "width": 3},
        text=[each.place.label if each.place else "parent" for each in rows], textposition="top center",
        hovertext=[html.escape(one_line(f"{each.run.name}, {each.entry.id}")) for each in rows],
        hovertemplate="%{hovertext}<br>%{x:.3g} GFLOPs: %{y:.3f}<extra></extra>",
    )  # fmt: skip
