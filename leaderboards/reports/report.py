"""The report: one HTML file with everything in it, that needs no network and runs no foreign text.

Plotly's script is inlined once; Jinja2 escapes every text; the content security policy forbids all requests.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template
from plotly.offline import get_plotlyjs

from evaluators.metric import MAP
from evaluators.result import Result, Status
from leaderboards.leaderboard import Leaderboard
from leaderboards.reports import charts, detection_table, findings
from leaderboards.reports.agreement import agreement, agreement_by_reading
from leaderboards.reports.charts import Blocks
from leaderboards.reports.table import tabulate
from leaderboards.wording import one_line

MAX_FAILURES = 50


class Failure(NamedTuple):
    """What did not end well, and where."""

    stage: str
    name: str
    error: str


class Background(NamedTuple):
    """What a report tells of a run beside its rows and its search.

    Attributes:
        blocks: those of the parent, in the order of the network.
        bases: those of the other bases, by name.
        recipe: every resolved setting; nested mappings are flattened.
        environment: versions and the machine, as they are to be printed.
        notes: facts about the calibration, the parent and the space, a sentence each.
    """

    blocks: Blocks
    bases: Mapping[str, Blocks]
    recipe: Mapping[str, object]
    environment: Mapping[str, str]
    notes: Sequence[str]


def render_report(
    board: Leaderboard,
    results: Sequence[Result],
    background: Background,
    /,
) -> str:
    """Return the report of a run as one self-contained HTML document; equal arguments give equal text.

    Args:
        board: the rows; its limits are the budget.
        results: of the whole search, in any order.
    """
    failures = _failures(board, results)
    return template("report.html.j2").render(
        plotly=get_plotlyjs(),
        table=tabulate(board, is_brief=False),
        detection=detection_table.detection_rows(board),
        detection_headings=detection_table.HEADINGS,
        reference_sentences=findings.reference_sentences(board),
        detection_legends={"table": detection_table.DETECTION_LEGEND, "layers": detection_table.LAYERS_LEGEND},
        layers=detection_table.layer_sentences(board),
        tiles=findings.tiles(board),
        limits=dict(board.limits),
        sentences=_sentences(board, results),
        measure=board.measure,
        charts=_charts(board, results, background),
        readings=agreement_by_reading(board, results),
        has_cloud=bool(charts.scored(results, MAP)),
        n_blocks=len(background.blocks),
        failures=failures[:MAX_FAILURES],
        n_failures=len(failures),
        notes=[one_line(note, width=1000) for note in background.notes],
        environment=dict(background.environment),
        recipe=dict(_flat(background.recipe)),
    )


def _sentences(board: Leaderboard, results: Sequence[Result]) -> dict[str, str]:
    """Return what the page says, by the names that the template uses."""
    return {
        "headline": " ".join([findings.headline(board), *findings.judge_sentences(board)]),
        "agreement": findings.agreement_sentence(board),
        "search": findings.search_sentence(results),
        "int8": findings.int8_sentence(board),
    }


def _charts(board: Leaderboard, results: Sequence[Result], background: Background) -> dict[str, str]:
    """Return the charts as HTML, by the names that the template uses."""
    return {
        **{axis.name: charts.trade_off(board, results, axis) for axis in charts.AXES},
        "agreement": charts.agreement(board) if agreement(board) else "",
        "precisions": charts.precisions(board),
        "explored": charts.explored(board, results),
        "progress": charts.progress(board, results),
        "widths": charts.widths(board, background.blocks, background.bases),
    }


def template(name: str, /) -> Template:
    """Return the template of this folder called `name`, which escapes every text."""
    loader = FileSystemLoader(Path(__file__).parent)
    jinja = Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    return jinja.get_template(name)


def _failures(board: Leaderboard, results: Sequence[Result]) -> list[Failure]:
    """Return what failed: entries first, then candidates in the order of proposal."""
    entries = [Failure("fine-tuning", entry.id, entry.error) for entry in board.entries if entry.quality is None]
    candidates = [
        Failure("search", f"{result.candidate.id} (number {result.number})", result.error)
        for result in sorted(results, key=lambda result: result.number)
        if result.status is Status.FAILED
    ]
    return [Failure(stage, one_line(name), one_line(error)) for stage, name, error in entries + candidates]


def _flat(settings: Mapping[str, object], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Yield dotted keys and values as text."""
    for key, value in settings.items():
        if isinstance(value, Mapping) and value:
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value if isinstance(value, str) else json.dumps(value, default=str)
