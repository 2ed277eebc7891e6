"""A comparison of runs as people read it: in the terminal, as CSV and Markdown, and as one HTML file."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import pandas as pd
from plotly.offline import get_plotlyjs
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from evaluators.runtimes.precision import Precision
from leaderboards.columns import numbers
from leaderboards.entry import Quality
from leaderboards.leaderboard import guarded
from leaderboards.reports.across.across_charts import colours_of, evaluations_chart, seconds_chart, trade_off
from leaderboards.reports.across.board import Across, Standing, check_out, default_folder, read_across
from leaderboards.reports.across.past_run import PastRun
from leaderboards.reports.render import WIDTH, escaped, markdown_line
from leaderboards.reports.report import template
from leaderboards.run_path import read_out
from leaderboards.wording import MISSING, number, one_line
from spaces.files import write_atomic

HEADINGS = (
    "mAP 50-95", "95 % of images", "vs parent", "GFLOPs", "params M", "size MB", "latency ms", "INT8 mAP", "epochs",
)  # fmt: skip
LEGEND = (
    "Rows share a rank (=) where the images cannot tell them apart: the 95 % interval of their difference in mAP, over "
    "200 resamples of the val images that are the same for all rows, then includes 0. The intervals are of the images "
    "alone, not of another seed of the training. * is on the Pareto front of mAP and GFLOPs over all runs."
)
CURVES_LEGEND = (
    "Share of the box from the best value of each objective ({objectives}) to the worst on any final front that is "
    "dominated so far, up to where the first run of a label ended; the band spans its runs. Strategies that train "
    "read the images that rank as well, which flatters them here and not on val. Seconds leave out the study of the "
    "parent."
)


class Row(NamedTuple):
    """A standing as text.

    Attributes:
        kind: "parent", "failed", "best" or nothing.
        cells: one for each of `HEADINGS`.
    """

    rank: str
    run: str
    id: str
    base: str
    cells: tuple[str, ...]
    is_on_front: bool
    kind: str
    error: str


class Task(NamedTuple):
    """The searches of one proxy under one budget."""

    title: str
    legend: str
    by_evaluations: str
    by_seconds: str


class Facts(NamedTuple):
    """What a run was."""

    name: str
    label: str
    budget: str
    seed: str
    n_results: int
    seconds: str


def compare(folders: Sequence[Path], out: str | None, console: Console, /) -> Path:
    """Return the folder that the comparison of the runs in `folders` was written to, with its table on `console`.

    Raises:
        BadInput: the runs do not compare, or `out` cannot take the comparison.
    """
    folder = read_out(out or default_folder(folders))
    check_out(folder)
    across = read_across(folders)
    publish_across(across, folder)
    write_terminal(across, console)
    return folder


def publish_across(across: Across, folder: Path, /) -> None:
    """Write leaderboard.csv, leaderboard.md and report.html of `across` to `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    write_atomic(
        folder / "leaderboard.csv", frame(across).to_csv(index=False, float_format="%.6g", lineterminator="\n")
    )
    write_atomic(folder / "leaderboard.md", markdown(across))
    write_atomic(folder / "report.html", report(across))


def write_terminal(across: Across, console: Console, /) -> None:
    """Write the ranks, their intervals and the costs to where `console` writes, never narrower than 100 columns."""
    table = Table(box=box.SIMPLE_HEAD, padding=0, pad_edge=False, show_edge=False)
    table.add_column("#", justify="right", no_wrap=True)
    table.add_column("run", max_width=24, overflow="ellipsis", no_wrap=True)
    table.add_column("id", max_width=10, overflow="crop", no_wrap=True)
    for title in HEADINGS[:7]:
        table.add_column(title, justify="right", no_wrap="%" in title)
    table.add_column("front", justify="center")
    rows = _rows(across)
    for row in rows:
        cells = [row.rank, row.run, row.id, *row.cells[:7], "*" if row.is_on_front else ""]
        table.add_row(*map(Text, cells), style="bold" if row.kind == "best" else "")
    wide = Console(
        file=console.file,
        width=max(console.width, WIDTH),
        force_terminal=console.is_terminal,
        no_color=console.no_color,
    )
    wide.print(table, Text(LEGEND, "dim"), *_failures(rows), highlight=False)


def frame(across: Across, /) -> pd.DataFrame:
    """Return all rows as numbers, in their order."""
    return pd.DataFrame.from_records([_record(across, standing) for standing in across.standings]).map(guarded)


def markdown(across: Across, /) -> str:
    """Return the table, its legend and the failures as Markdown."""
    rows = _rows(across)
    lines = [
        f"# Leaderboard across {len(across.runs)} runs", "",
        markdown_line(["#", "run", "id", "base", *HEADINGS, "front"]),
        markdown_line(["--:", "---", "---", "---", *["--:"] * len(HEADINGS), ":-:"]),
        *(markdown_line([row.rank, row.run, row.id, row.base, *row.cells, "*" if row.is_on_front else ""])
          for row in rows),
        "", LEGEND, *(f"\n{escaped(text)}" for text in _failures(rows)),
    ]  # fmt: skip
    return "\n".join(lines) + "\n"


def report(across: Across, /) -> str:
    """Return the comparison as one self-contained HTML document."""
    return template("across.html.j2").render(
        plotly=get_plotlyjs(),
        n_runs=len(across.runs),
        headline=headline(across),
        legend=LEGEND,
        headings=HEADINGS,
        rows=_rows(across),
        trade_off=trade_off(across),
        tasks=_tasks(across),
        runs=[_facts(across, run) for run in across.runs],
    )


def headline(across: Across, /) -> str:
    """Return who leads, in one sentence."""
    leaders = [each for each in across.standings if each.place and each.place.rank == 1]
    if not leaders:
        return "No row was finished."
    best = leaders[0]
    assert best.quality is not None
    text = (
        f"{one_line(best.entry.id)} of {one_line(best.run.name)} has the highest mAP50-95, {best.quality.map50_95:.3f}"
    )
    others = len(leaders) - 1
    return f"{text}." if not others else f"{text}; the images cannot tell {others} more from it."


def _tasks(across: Across) -> list[Task]:
    tasks, colours = [], colours_of(across)
    for index, (task, runs) in enumerate(across.tasks().items()):
        objectives = next(iter(runs.values()))[0].objectives
        legend = CURVES_LEGEND.format(objectives=", ".join(metric.title for metric in objectives))
        evaluations = evaluations_chart(runs, colours, name=f"evaluations-{index}")
        seconds = seconds_chart(runs, colours, name=f"seconds-{index}")
        tasks.append(Task(", ".join(task), legend, evaluations, seconds))
    return tasks


def _facts(across: Across, run: PastRun) -> Facts:
    _, *limits = run.task
    seconds = number(max(run.seconds.values(), default=0.0))
    budget = ", ".join(limits) or "none"
    return Facts(run.name, across.labels[run.name], budget, str(run.recipe["seed"]), len(run.results), seconds)


def _rows(across: Across) -> list[Row]:
    return [_row(standing) for standing in across.standings]


def _row(standing: Standing) -> Row:
    run, entry, place = standing.run, standing.entry, standing.place
    kind = "parent" if standing.is_parent else "failed" if not entry.quality else ""
    rank = "" if standing.is_parent else place.label if place else MISSING
    names = (one_line(run.name, width=64), one_line(entry.id, width=64), one_line(entry.candidate.base, width=40))
    cells = _cells(standing) if entry.quality else (MISSING,) * len(HEADINGS)
    kind = "best" if place and place.rank == 1 else kind
    return Row(rank, *names, cells, standing.is_on_front, kind, "" if entry.quality else one_line(entry.error))


def _cells(standing: Standing) -> tuple[str, ...]:
    quality, parent = standing.quality, standing.run.board.parent.quality
    assert quality is not None
    interval = standing.place.interval if standing.place else None
    return (
        f"{quality.map50_95:.3f}",
        f"{interval.low:.3f} to {interval.high:.3f}" if interval else MISSING,
        f"{quality.map50_95 - parent.map50_95:+.3f}" if parent and not standing.is_parent else "",
        *(number(value) for value in _costs(quality)),
        f"{int8.map50_95:.3f}" if (int8 := quality.file(Precision.INT8)) else MISSING,
        str(standing.entry.epochs),
    )


def _costs(quality: Quality) -> tuple[float, ...]:
    return (quality.gflops, quality.params_m, quality.own.size_mb, quality.own.latency_ms)


def _record(across: Across, standing: Standing) -> dict[str, object]:
    run, entry, place, quality = standing.run, standing.entry, standing.place, standing.quality
    interval = place.interval if place else None
    record: dict[str, object] = {
        "rank": place.label if place else "", "run": run.name, "label": across.labels[run.name],
        "strategy": entry.strategy, "seed": entry.seed, "id": entry.id, "base": entry.candidate.base,
        "status": entry.status.value, "on_front": standing.is_on_front, "epochs": entry.epochs,
        "within_budget": run.board.choice(entry) is not None,
        "map_low": interval.low if interval else None, "map_high": interval.high if interval else None,
    }  # fmt: skip
    names = ("map50_95", "map50", "gflops", "params_m", "size_mb", "latency_ms", "int8_map50_95", "int8_latency_ms",
             "int8_size_mb")  # fmt: skip
    found = numbers(quality) if quality else {}
    return record | {name: found.get(name) for name in names}


def _failures(rows: Sequence[Row]) -> list[str]:
    return [f"{row.run}, {row.id} failed: {one_line(row.error)}" for row in rows if row.error]
