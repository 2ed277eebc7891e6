"""The charts of the report, each as one piece of HTML that needs Plotly's script on the page.

Foreign text is escaped before Plotly gets it, as Plotly reads some HTML in labels.
"""

import html
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import plotly.graph_objects as go

from evaluators.metric import MAP, Metric
from evaluators.result import Result, Status
from evaluators.runtimes.precision import Precision
from leaderboards.columns import numbers, title_of
from leaderboards.entry import DeployedFile, Entry
from leaderboards.leaderboard import Leaderboard
from leaderboards.reports.chart_style import (
    CLOUD_COLOUR,
    ENTRY_COLOUR,
    PAPER,
    PARENT_COLOUR,
    SHADES,
    add_budget_,
    add_stair_,
    colourbar,
    to_html,
    whiskers,
)
from leaderboards.reports.table import ranks_of
from leaderboards.wording import one_line
from spaces.bases.names import SAME
from spaces.candidate import Candidate

SYMBOLS = ("circle", "diamond", "square", "triangle-up", "cross", "x", "star", "hexagon", "triangle-down", "pentagon")

Blocks = Sequence[tuple[str, int]]  # name and channels of each block of a base, in the order of the network


class Axis(NamedTuple):
    """A cost against which mAP is drawn.

    Attributes:
        cost: the column of leaderboard.csv; `score` that of the same file's mAP, `p95` of the end of its whisker.
        limit: the name that limits give to this cost.
        reading: the name that results give to it, and `scale` times that is in the unit of the axis.
    """

    name: str
    title: str
    cost: str
    score: str
    limit: str
    p95: str = ""
    reading: str = ""
    scale: float = 1.0


AXES = (
    Axis("gflops", "GFLOPs", "gflops", "map50_95", "gflops", reading="macs_g", scale=2.0),
    Axis("latency", "latency (ms), whisker to p95", "latency_ms", "map50_95", "latency_ms", "latency_p95_ms"),
    Axis("int8", "latency INT8 (ms), whisker to p95", "int8_latency_ms", "int8_map50_95", "latency_ms",
         "int8_latency_p95_ms"),
    Axis("size", "size (MB)", "size_mb", "map50_95", "size_mb", reading="size_mb"),
)  # fmt: skip


def trade_off(board: Leaderboard, results: Sequence[Result], axis: Axis, /) -> str:
    """Return mAP against one cost: the entries, the parent, their front as a stair, the budget, the searched cloud."""
    figure = go.Figure()
    rows = [(entry, numbers(entry.quality)) for entry in (*board.rows, board.parent) if entry.quality]
    rows = [(entry, found) for entry, found in rows if axis.cost in found and axis.score in found]
    if axis.reading and scored(results, MAP):
        _add_cloud_(figure, results, axis)
    add_stair_(figure, [(found[axis.cost], found[axis.score]) for _, found in rows])
    _add_rows_(figure, board, rows, axis)
    if (limit := _limit(board, axis)) is not None:
        add_budget_(figure, limit)
    return to_html(figure, f"trade-{axis.name}", x=axis.title, y=board.measure)


def agreement(board: Leaderboard, /) -> str:
    """Return the proxy of each candidate against its final mAP."""
    metric, ranks = board.proxy, ranks_of(board)
    known = [(entry, entry.proxy, entry.quality) for entry in board.rows if entry.quality and entry.proxy is not None]
    figure = go.Figure(
        go.Scatter(
            x=[proxy for _, proxy, _ in known], y=[quality.map50_95 for _, _, quality in known],
            mode="markers+text", marker={"size": 10, "color": ENTRY_COLOUR}, cliponaxis=False,
            text=[ranks[entry.id] for entry, _, _ in known], textposition="top center",
            hovertext=[html.escape(one_line(entry.id)) for entry, _, _ in known],
            hovertemplate="%{hovertext}<br>proxy %{x:.3f}, final %{y:.3f}<extra></extra>",
        )
    )  # fmt: skip
    return to_html(
        figure, "agreement", x=f"{metric.title} in the search, before fine-tuning", y=f"final {board.measure}"
    )


def explored(board: Leaderboard, results: Sequence[Result], /) -> str:
    """Return the proxy of every measured candidate against its MACs, darker the later, a symbol for each base."""
    metric = board.proxy
    done = [result for result in scored(results, metric) if "macs_g" in result.readings]
    bases = list(dict.fromkeys(result.candidate.base for result in done))
    figure = go.Figure()
    for place, base in enumerate(bases):
        mine = [result for result in done if result.candidate.base == base]
        figure.add_scatter(
            x=[result.readings["macs_g"] for result in mine], y=[result.readings[metric.name] for result in mine],
            mode="markers", name=html.escape(one_line(base)),
            marker={"size": 7, "symbol": SYMBOLS[place % len(SYMBOLS)], "line": {"width": 0.5, "color": PAPER},
                    "color": [result.number for result in mine], "coloraxis": "coloraxis"},
            text=[f"{html.escape(result.candidate.id)}<br>number {result.number}" for result in mine],
            hovertemplate="%{text}<br>%{x:.3g} GMACs: %{y:.3f}<extra></extra>",
        )  # fmt: skip
    bar = {**colourbar(), "title": {"text": "order", "side": "top"}}
    figure.update_layout(coloraxis={"colorscale": SHADES, "colorbar": bar})
    if (limit := gflops_limit(board)) is not None:
        add_budget_(figure, limit / 2)
    return to_html(figure, "explored", x="MACs (G)", y=f"{metric.title} (proxy)", legend=len(bases) > 1)


def progress(board: Leaderboard, results: Sequence[Result], /) -> str:
    """Return the proxy of each measured candidate in the order of proposal, and the best one so far as a line."""
    metric = board.proxy
    done = scored(results, metric)
    numbers, values = [result.number for result in done], [result.readings[metric.name] for result in done]
    best = [min(values[: place + 1], key=metric.loss) for place in range(len(values))]
    figure = go.Figure(
        [
            go.Scatter(x=numbers, y=values, mode="markers", marker={"size": 5, "color": CLOUD_COLOUR},
                       hovertemplate="number %{x}: %{y:.3f}<extra></extra>"),
            go.Scatter(x=numbers, y=best, mode="lines", line={"color": ENTRY_COLOUR, "width": 2.5, "shape": "hv"},
                       hovertemplate="best up to %{x}: %{y:.3f}<extra></extra>"),
        ]
    )  # fmt: skip
    return to_html(figure, "progress", x="candidate, in order of proposal", y=f"{metric.title} (proxy), best so far")


def widths(board: Leaderboard, blocks: Blocks, bases: Mapping[str, Blocks], /) -> str:
    """Return which fraction of each of the parent's `blocks` each candidate keeps, as a heat map.

    Args:
        bases: the blocks of the other bases, by name; a base that is not among them is not shown.
    """
    ranks, known = ranks_of(board), {SAME: dict(blocks), **{base: dict(own) for base, own in bases.items()}}
    shown = {base for base, own in known.items() if own.keys() & dict(blocks)}
    rows = [entry for entry in board.rows if entry.quality and entry.candidate.base in shown]
    kept = [[(_kept(entry.candidate, known, name), size) for name, size in blocks] for entry in rows]
    names = [html.escape(one_line(name, width=40)) for name, _ in blocks]
    figure = go.Figure(
        go.Heatmap(
            z=[[None if keep is None else keep / size for keep, size in row] for row in kept],
            x=names, y=[f"{ranks[entry.id]}  {html.escape(entry.id[:10])}" for entry in rows],
            customdata=[[f"{keep} of {size} channels" for keep, size in row] for row in kept],
            colorscale=SHADES, zmin=0, zmax=1, xgap=1, ygap=2, hoverongaps=False,
            colorbar={**colourbar(), "tickformat": ".0%", "tickvals": [0, 0.5, 1]},
            hovertemplate="%{y}<br>block %{x}<br>%{customdata} (%{z:.0%})<extra></extra>",
        )
    )  # fmt: skip
    figure.update_yaxes(autorange="reversed", type="category", showline=False)
    figure.update_xaxes(type="category", tickangle=-90, tickfont={"size": 9}, showticklabels=len(blocks) <= 100)
    return to_html(figure, "widths", x="block, from the image to the outputs", y="", height=150 + 34 * len(rows))


def _kept(candidate: Candidate, known: Mapping[str, Mapping[str, int]], block: str) -> int | None:
    """Return how many channels of `block` the candidate has; None where its base has no such block."""
    return dict(candidate.picks).get(block, known[candidate.base].get(block))


def precisions(board: Leaderboard, /) -> str:
    """Return for each row a line through its files, from the one that it stands for, mAP against latency."""
    figure = go.Figure()
    ranks = ranks_of(board)
    for entry in (*board.rows, board.parent):
        quality, colour = entry.quality, PARENT_COLOUR if entry is board.parent else ENTRY_COLOUR
        if quality is None:
            continue
        line = {"color": colour, "width": 1.5}
        figure.add_scatter(
            x=[file.latency_ms for file in quality.files], y=[file.map50_95 for file in quality.files],
            mode="lines+markers+text", text=[ranks[entry.id] or "parent"], textposition="top center",
            line=line,
            marker={"size": 10, "symbol": [_symbol(file) for file in quality.files], "color": colour, "line": line},
            hovertext=[f"{html.escape(one_line(entry.id))}, {title_of(file)}" for file in quality.files],
            hovertemplate="%{hovertext}<br>%{x:.3g} ms: %{y:.3f}<extra></extra>",
        )  # fmt: skip
    return to_html(figure, "precisions", x="latency (ms)", y=board.measure)


def _symbol(file: DeployedFile) -> str:
    return "circle" if file.precision is Precision.FP32 else "diamond-open"


def scored(results: Sequence[Result], metric: Metric) -> list[Result]:
    """Return the measured results that have a value of `metric`, in the order of proposal."""
    done = [result for result in results if result.status is Status.DONE and metric.name in result.readings]
    return sorted(done, key=lambda result: result.number)


def gflops_limit(board: Leaderboard) -> float | None:
    """Return the limit on GFLOPs, whether it was given as such or as MACs; None without one."""
    given = (board.limits.get("gflops"), *(2 * limit for name, limit in board.limits.items() if name == "macs_g"))
    return min((limit for limit in given if limit is not None), default=None)


def _limit(board: Leaderboard, axis: Axis) -> float | None:
    return gflops_limit(board) if axis.limit == "gflops" else board.limits.get(axis.limit)


def _add_cloud_(figure: go.Figure, results: Sequence[Result], axis: Axis) -> None:
    """Draw the mAP that the search saw of every measured candidate."""
    done = [result for result in scored(results, MAP) if axis.reading in result.readings]
    figure.add_scatter(
        x=[axis.scale * result.readings[axis.reading] for result in done],
        y=[result.readings[MAP.name] for result in done],
        mode="markers", marker={"size": 5, "color": CLOUD_COLOUR, "opacity": 0.7}, hoverinfo="skip",
    )  # fmt: skip


def _add_rows_(
    figure: go.Figure, board: Leaderboard, rows: Sequence[tuple[Entry, Mapping[str, float]]], axis: Axis
) -> None:
    """Draw the measured entries: filled on the front, hollow off it, the parent as a star."""
    ranks, front = ranks_of(board), board.front()
    for entry, found in rows:
        is_parent = entry is board.parent
        cost = found[axis.cost]
        symbol = "star" if is_parent else "circle" if entry.id in front else "circle-open"
        marker = {"size": 15 if is_parent else 10, "symbol": symbol, "line": {"width": 2 * (symbol == "circle-open")}}
        reach = {"error_x": {**whiskers(), "array": [found[axis.p95] - cost]}} if axis.p95 else {}
        figure.add_scatter(
            x=[cost], y=[found[axis.score]], mode="markers+text", cliponaxis=False,
            marker={**marker, "color": PARENT_COLOUR if is_parent else ENTRY_COLOUR},
            text=["parent" if is_parent else ranks[entry.id]], textposition="top center",
            hovertext=[html.escape(one_line(entry.id))], **reach,
            hovertemplate="%{hovertext}<br>%{x:.3g}: %{y:.3f}<extra></extra>",
        )  # fmt: skip
