"""The report: one HTML file with everything in it, that needs no network and runs no foreign text.

Plotly's script is inlined once; Jinja2 escapes every text; the content security policy forbids all requests.
"""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from plotly.offline import get_plotlyjs

from evaluators.result import Result, Status
from leaderboards import charts
from leaderboards.agreement import MIN_N, agreement
from leaderboards.choice import Choice, Precision
from leaderboards.leaderboard import Leaderboard
from leaderboards.select import select
from leaderboards.table import tabulate
from leaderboards.wording import number, one_line, percent
from spaces.errors import NothingFeasible
from spaces.files import write_atomic

MAX_FAILURES = 50


class Tile(NamedTuple):
    """One number of the headline and how it compares with the parent's."""

    title: str
    value: str
    unit: str
    comparison: str


class Failure(NamedTuple):
    """What did not end well, and where."""

    stage: str
    name: str
    error: str


def render_report(
    board: Leaderboard,
    results: Sequence[Result],
    blocks: Sequence[tuple[str, int]],
    recipe: Mapping[str, object],
    environment: Mapping[str, str],
    notes: Sequence[str],
) -> str:
    """Return the report of a run as one self-contained HTML document; equal arguments give equal text.

    Args:
        results: of the whole search, in any order.
        blocks: name and channels of each block of the space, in the order of the network.
        recipe: every resolved setting; nested mappings are flattened.
        notes: facts about the calibration, the parent and the space, a sentence each.
    """
    failures = _failures(board, results)
    return _template().render(
        plotly=get_plotlyjs(),
        headline=headline(board),
        tiles=_tiles(board),
        table=tabulate(board, is_brief=False),
        limits=dict(board.limits),
        trade_offs=[charts.trade_off(board, results, axis) for axis in charts.AXES],
        has_cloud=charts.proxy_metric(board) is charts.MAP,
        agreement=charts.agreement(board),
        agreement_sentence=agreement_sentence(board),
        explored=charts.explored(board, results),
        progress=charts.progress(board, results),
        search_sentence=search_sentence(results),
        widths=charts.widths(board, blocks),
        n_blocks=len(blocks),
        precisions=charts.precisions(board),
        int8_sentence=int8_sentence(board),
        failures=failures[:MAX_FAILURES],
        n_failures=len(failures),
        notes=[one_line(note, width=1000) for note in notes],
        environment=dict(environment),
        recipe=_flat(recipe),
    )


def write_report(path: Path, text: str, /) -> None:
    """Write the report in one step."""
    write_atomic(path, text)


def headline(board: Leaderboard) -> str:
    """Return the best model within the budget in one sentence, or what comes nearest."""
    try:
        choice = select(board, board.limits)
    except NothingFeasible as nothing:
        return f"Nothing meets the budget: {nothing}."
    quality, parent = choice.entry.quality, board.parent.quality
    assert quality is not None
    where = "within the budget" if board.limits else "without a budget"
    if choice.entry is board.parent:
        return f"The parent itself is the best model {where}: mAP50-95 {choice.map50_95:.3f}."
    text = (
        f"{one_line(choice.entry.id)} ({choice.precision.value.upper()}) is the best model {where}: "
        f"mAP50-95 {choice.map50_95:.3f}"
    )
    if parent is None:
        return f"{text}."
    kept, speed = quality.gflops / parent.gflops, parent.latency_ms / choice.readings["latency_ms"]
    return (
        f"{text}, {percent(choice.map50_95 / parent.map50_95)} of the parent's {parent.map50_95:.3f}, with "
        f"{percent(kept)} of its MACs and {_speed(speed)}."
    )
