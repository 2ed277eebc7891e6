"""How every chart looks, and how it becomes HTML.

One colour means one thing on the whole page: orange is the parent, blue the entries, grey the searched candidates
that were never fine-tuned, red the budget.
"""

from collections.abc import Sequence
from typing import TypedDict

import plotly.graph_objects as go

INK, MUTED, GRID, PAPER = "#1d2433", "#667085", "#e8ebf0", "#ffffff"
PARENT_COLOUR, ENTRY_COLOUR, CLOUD_COLOUR, BUDGET_COLOUR = "#d9731a", "#1f5fae", "#c3c9d4", "#c0362c"
STAIR_COLOUR, WHISKER_COLOUR = "#c9dcf1", "#98a2b3"
SHADES = ((0.0, "#dbe6f3"), (0.5, "#6f9fd4"), (1.0, "#123c73"))  # light to dark blue
FONT = 'system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif'


class Colourbar(TypedDict):
    """The settings of a colour scale that all charts share."""

    thickness: int
    outlinewidth: int
    tickfont: dict[str, object]


def colourbar() -> Colourbar:
    """Return the settings of a slim colour scale."""
    return {"thickness": 9, "outlinewidth": 0, "tickfont": {"size": 11, "color": MUTED}}


class Whiskers(TypedDict):
    """The settings of whiskers to the right."""

    type: str
    symmetric: bool
    thickness: float
    width: int
    color: str


def whiskers() -> Whiskers:
    """Return the settings of thin whiskers that reach to the right only."""
    return {"type": "data", "symmetric": False, "thickness": 1.2, "width": 4, "color": WHISKER_COLOUR}


def to_html(figure: go.Figure, name: str, /, *, x: str, y: str, height: int = 360, legend: bool = False) -> str:
    """Return `figure` in the house style as HTML that needs Plotly's script on the page.

    Args:
        figure: is changed on the way.
        name: the id of its element, so that equal data gives equal bytes.
        x: the title of the horizontal axis, its unit in it.
        y: the title of the vertical axis.
        height: in pixels.
        legend: whether the names of the traces stand above the chart.
    """
    axis = {
        "gridcolor": GRID, "linecolor": MUTED, "ticks": "outside", "tickcolor": GRID, "zeroline": False,
        "tickfont": {"color": MUTED, "size": 11}, "title": {"font": {"size": 12, "color": INK}, "standoff": 10},
    }  # fmt: skip
    figure.update_xaxes(axis, title_text=x, automargin=True)
    figure.update_yaxes(axis, title_text=y, automargin=True)
    figure.update_layout(
        height=height, paper_bgcolor=PAPER, plot_bgcolor=PAPER, template="none",
        showlegend=legend, legend={"orientation": "h", "y": 1.02, "yanchor": "bottom"},
        font={"family": FONT, "size": 12, "color": INK}, margin={"l": 56, "r": 16, "t": 16, "b": 48},
        hoverlabel={"bgcolor": INK, "font": {"color": PAPER, "family": FONT, "size": 12}, "bordercolor": INK},
    )  # fmt: skip
    config = {"displayModeBar": False, "responsive": True}
    return str(figure.to_html(full_html=False, include_plotlyjs=False, div_id=f"chart-{name}", config=config))


def add_budget_(figure: go.Figure, limit: float, /) -> None:
    """Draw `limit` as a vertical line."""
    figure.add_vline(
        limit, line={"color": BUDGET_COLOUR, "width": 1.5, "dash": "dash"}, annotation_text=f"budget {limit:.3g}",
        annotation_position="bottom left", annotation_font={"size": 11, "color": BUDGET_COLOUR},
    )  # fmt: skip


def add_stair_(figure: go.Figure, points: Sequence[tuple[float, float]], /) -> None:
    """Draw the best mAP within each cost, for (cost, mAP) points."""
    stair: list[tuple[float, float]] = []
    for cost, score in sorted(points, key=lambda point: (point[0], -point[1])):
        if not stair or score > stair[-1][1]:
            stair.append((cost, score))
    figure.add_scatter(
        x=[cost for cost, _ in stair], y=[score for _, score in stair], mode="lines", hoverinfo="skip",
        line={"color": STAIR_COLOUR, "width": 3, "shape": "hv"},
    )  # fmt: skip
