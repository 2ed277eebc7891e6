"""From the journal to what people read: tables, report, model cards. All of it can be made again at any time."""

import difflib
import platform
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path

import yaml

from leaderboards.entry import PARENT, Entry, Quality
from leaderboards.files.export import export_other
from leaderboards.leaderboard import Leaderboard
from leaderboards.reports.charts import Blocks
from leaderboards.reports.judged_table import LAYERS_LEGEND, in_words, judged_files, worst_layers_text
from leaderboards.reports.render import escaped, write_markdown
from leaderboards.reports.report import Background, render_report
from search.journal import Journal, Replay
from spaces.base import SAME, BaseName
from spaces.errors import BadInput
from spaces.files import write_atomic

LIBRARIES = ("torch", "ultralytics", "ray", "onnxruntime", "numpy", "torchvision")
SPACE = "space"
BASE = "base"
FP32_HEADING = "fp32 (model.onnx)"
NO_PT = 'no model.pt (Ultralytics has no class for this kind of network; `YOLO("model.onnx")` predicts)'


def publish(folder: Path, /) -> Leaderboard:
    """Return the leaderboard of the run in `folder`, with its tables, report and cards written anew.

    Raises:
        BadInput: `folder` holds no run, or one without finished rows.
    """
    journal, recipe = read_run(folder)
    board = read_board(journal, folder)
    board.write_csv(folder / "leaderboard.csv")
    write_markdown(board, folder / "leaderboard.md")
    results = [journal.results[number] for number in sorted(journal.results)]
    facts = journal.records(SPACE)[0]
    bases = {str(facts["name"]): _blocks(facts) for facts in journal.records(BASE)}
    background = Background(_blocks(facts), bases, recipe, environment(), _notes(facts, journal))
    report = render_report(board, results, background)
    write_atomic(folder / "report.html", report)
    for entry in board.entries:
        if entry.quality is not None and (folder / "models" / entry.id).is_dir():
            models = folder / "models" / entry.id
            write_atomic(models / "card.md", card(entry, board, has_pt=not _lacks_pt(models)))
    return board


def read_run(folder: Path, /) -> tuple[Replay, Mapping[str, object]]:
    """Return the journal and the recipe of the run in `folder`.

    Raises:
        BadInput: it holds no run.
    """
    journal = Journal.read(folder / "journal.jsonl")
    if not (folder / "recipe.yaml").is_file():
        raise BadInput(f"{str(folder)!r} has no recipe.yaml")
    recipe = yaml.safe_load((folder / "recipe.yaml").read_text(encoding="utf-8"))
    return journal, recipe


def read_board(journal: Replay, folder: Path, /) -> Leaderboard:
    """Return the leaderboard that `journal` tells of.

    Raises:
        BadInput: no row is finished yet.
    """
    entries = [Entry.from_json({k: v for k, v in record.items() if k != "kind"}) for record in journal.records("entry")]
    if not entries:
        raise BadInput(f"{str(folder)!r} has no finished rows yet; run the same command again to go on")
    limits = journal.records(SPACE)[0]["limits"]
    assert isinstance(limits, dict)
    if "macs_g" in limits:  # the tables speak of GFLOPs
        limits = {"gflops": 2 * limits["macs_g"], **{name: limits[name] for name in limits if name != "macs_g"}}
    return Leaderboard(entries, limits)


def environment() -> dict[str, str]:
    """Return the machine and the versions that the figures belong to."""
    facts = {"python": platform.python_version(), "system": platform.platform(), "processor": _processor()}
    return facts | {name: version(name) for name in LIBRARIES}


def card(entry: Entry, board: Leaderboard, /, *, has_pt: bool = True) -> str:
    """Return the model card of one row, in Markdown; `has_pt` is whether its model.pt could be written."""
    quality, parent = entry.quality, board.parent.quality
    assert quality is not None
    beside = f" (parent {parent.map50_95:.3f})" if parent is not None and entry.id != PARENT else ""
    widths = ", ".join(f"{name} {value}" for name, value in entry.candidate.widths) or "all"
    fp32_time = f"{quality.latency_ms:.2f} ({quality.latency_p95_ms:.2f})"
    is_swapped = BaseName.parse(entry.candidate.base).backbone != SAME
    pt = f'model.pt (`YOLO("model.pt")`{", with timm installed" if is_swapped else ""})' if has_pt else NO_PT
    int8_runs = quality.int8_execution or "convolutions run as integers"
    int8_time = f"{quality.int8_latency_ms:.2f} ({quality.int8_latency_p95_ms:.2f})"
    own = "its own bits: simulated mAP, size and times of model_int8.onnx" if quality.int8_execution else FP32_HEADING
    return f"""# {entry.id}

| reading | {own} | INT8 (model_int8.onnx) |
|---|---:|---:|
| mAP50-95, COCO metric, sealed val split | {quality.map50_95:.4f}{beside} | {quality.int8_map50_95:.4f} |
| latency in ms, median (p95), ONNX Runtime, CPU, 1 thread, batch 1 | {fp32_time} | {int8_time} |
| size in MB | {quality.size_mb:.2f} | {quality.int8_size_mb:.2f} |

{quality.gflops:.3f} GFLOPs (2 x MACs) at {entry.imgsz} px, {quality.params_m:.3f} M parameters,
{entry.epochs} epochs of fine-tuning. The ONNX fp32 outputs differ from torch by {quality.onnx_error:.1e} of the
largest output. INT8: {int8_runs}; what comes after the head's last convolutions is float.
{_stages(quality)}{_zeros(quality)}
{_judged(entry, board)}

Base: {entry.candidate.base}. Channels kept where they differ from it: {widths}.

Files: model.safetensors + architecture.json (load without pickle), {pt}, model.onnx,
model_int8.onnx. Licence: AGPL-3.0 (Ultralytics).
"""


def _lacks_pt(models: Path) -> bool:
    """Return whether a row's folder has every file but model.pt, which cannot be written for every network."""
    return (models / "model.onnx").exists() and not (models / "model.pt").exists()


def _stages(quality: Quality) -> str:
    if quality.preprocess_ms is None or quality.postprocess_ms is None:
        return ""
    return (
        f"One image: {quality.preprocess_ms:.2f} ms to make it ready, {quality.network_ms:.2f} ms in the "
        f"network, {quality.postprocess_ms:.2f} ms to pick its boxes."
    )


def _zeros(quality: Quality) -> str:
    """Return what the zeros of a masked network are, and would be, worth; nothing for any other."""
    if quality.zeros is None or quality.sparse_size_mb is None:
        return ""
    return (
        f"\n{quality.zeros:.0%} of the weights are zero, and stored and computed as any other; without them the fp32 "
        f"file would take {quality.sparse_size_mb:.2f} MB, which no runtime here reads."
    )


def _judged(entry: Entry, board: Leaderboard) -> str:
    """Return what mAP does not tell, a paragraph for each file; nothing for rows of earlier versions."""
    parent = board.parent.quality.judged if board.parent.quality else None
    lines = [f"\n{file}: {escaped(in_words(judged, parent))}" for file, judged in judged_files(entry)]
    worst = worst_layers_text((entry.quality and entry.quality.worst_layers) or {})
    return "\n".join([*lines, *([f"\n{LAYERS_LEGEND} {escaped(worst)}."] if worst else [])])


def _blocks(facts: Mapping[str, object]) -> Blocks:
    blocks = facts["blocks"]
    assert isinstance(blocks, list)
    return [(str(name), int(size)) for name, size in blocks]


def _notes(facts: Mapping[str, object], journal: Replay) -> list[str]:
    notes = facts["notes"]
    assert isinstance(notes, list)
    damaged = [f"{journal.damaged} damaged lines of the journal were set aside."] if journal.damaged else []
    return [*(str(note) for note in notes), *damaged]


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text(encoding="utf-8").splitlines() if cpuinfo.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"{names[0]}, {len(names)} cores" if names else platform.processor()


def export_row(folder: Path, row: str | None, file_format: str, /) -> Path:
    """Return the file of one row of the run in `folder` in `file_format`, written if it is not there yet.

    Raises:
        BadInput: no such row, a row that failed or whose files are gone, or a format that cannot be written here.
    """
    journal, _ = read_run(folder)
    rows = {entry.id: entry for entry in read_board(journal, folder).entries}
    if row not in rows or rows[row].quality is None:
        close = difflib.get_close_matches(row or "", rows, n=1, cutoff=0.3)
        done = [name for name, entry in rows.items() if entry.quality is not None]
        hint = f"; did you mean {close[0]!r}?" if close else ""
        raise BadInput(f"id must be a finished row of this run ({', '.join(done)}), got {row!r:.60}{hint}")
    models = folder / "models" / row
    ready = {"onnx": models / "model.onnx", "int8": models / "model_int8.onnx", "pt": models / "model.pt"}
    source = ready.get(file_format, models / "model.pt")
    if not source.exists() and _lacks_pt(models):
        raise BadInput(f"format={file_format} needs model.pt, and this row has {NO_PT}; there are onnx and int8")
    if not source.exists():
        raise BadInput(f"{str(source)!r} is not there; a report made from a journal alone has no models")
    return source if file_format in ready else export_other(source, file_format, models)
