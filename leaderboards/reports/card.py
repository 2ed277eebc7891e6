"""The model card of a row."""

from collections.abc import Mapping

from evaluators.runtimes.precision import Int8
from leaderboards.columns import others, title_of
from leaderboards.entry import PARENT, Entry, Quality
from leaderboards.leaderboard import Leaderboard
from leaderboards.reports.detection_table import LAYERS_LEGEND, detection_files, in_words, worst_layers_text
from leaderboards.reports.render import escaped
from leaderboards.run_folder import NO_PT
from spaces.bases.names import SAME, BaseName

KINDS: Mapping[str | None, str] = {
    Int8.PORTABLE.value: "; on no processor do its sums overflow",
    Int8.VNNI.value: "; made for processors with VNNI, as on others sums of its products overflow",
}


def card(entry: Entry, board: Leaderboard, /, *, has_pt: bool = True) -> str:
    """Return the model card of one row, in Markdown; `has_pt` is whether its model.pt could be written."""
    quality, parent = entry.quality, board.parent.quality
    assert quality is not None
    beside = f" (parent {parent.map50_95:.3f})" if parent is not None and entry.id != PARENT else ""
    widths = ", ".join(f"{name} {value}" for name, value in entry.candidate.widths) or "all"
    is_swapped = BaseName.parse(entry.candidate.base).backbone != SAME
    pt = f'model.pt (`YOLO("model.pt")`{", with timm installed" if is_swapped else ""})' if has_pt else NO_PT
    int8_runs = next((file.execution for file in quality.files if file.execution), "convolutions run as integers")
    int8_runs += next((KINDS[file.kind] for file in quality.files if file.kind in KINDS), "")
    return f"""# {entry.id}

{_table(quality, board, beside=beside)}

{quality.gflops:.3f} GFLOPs (2 x MACs) at {entry.imgsz} px, {quality.params_m:.3f} M parameters,
{entry.epochs} epochs of fine-tuning{_kept(quality)}.{_error(quality)}
INT8: {int8_runs}; what comes after the head's last convolutions is float.
{_stages(quality)}{_zeros(quality)}
{_detection(entry, board)}

Base: {entry.candidate.base}. Channels kept where they differ from it: {widths}.

Files: model.safetensors + architecture.json (load without pickle), {pt}, {_files(quality)}.
Licence: AGPL-3.0 (Ultralytics).
"""


def _table(quality: Quality, board: Leaderboard, *, beside: str) -> str:
    """Return what each file was measured to be, a column each."""
    judge = "COCO metric, sealed val split" if board.is_labelled else "with what the parent finds, no labels"
    lines = [["reading"], [f"{board.measure}, {judge}"]]
    runtime = "" if others(quality.files) else "ONNX Runtime, "
    lines += [[f"latency in ms, median (p95), {runtime}CPU, 1 thread, batch 1"], ["size in MB"]]
    for file in quality.files:
        lines[0].append(f"{title_of(file)} ({file.file})")
        lines[1].append(f"{file.map50_95:.4f}{beside if file is quality.own else ''}")
        lines[2].append(f"{file.latency_ms:.2f} ({file.latency_p95_ms:.2f})")
        lines[3].append(f"{file.size_mb:.2f}")
    lines.insert(1, ["---", *["---:"] * len(quality.files)])
    simulated = f"\n\nSimulated in torch, its own bits find {quality.map50_95:.4f}." if quality.has_bits else ""
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + simulated


def _error(quality: Quality) -> str:
    if quality.own.error is None:
        return ""
    return f" The fp32 file's outputs differ from torch by {quality.own.error:.1e} of the largest output."


def _kept(quality: Quality) -> str:
    """Return how much of its training a row has kept, where that is not all."""
    trainings = ((quality.tuned_share, "fine-tuning"), (quality.qat_share, "the training on bits"))
    parts = [f"{share:.0%} of what {what} changed" for share, what in trainings if share is not None and share < 1]
    return f", of which it keeps {' and '.join(parts)}, as did best on the hold-out" if parts else ""


def _files(quality: Quality) -> str:
    """Return the names of the deployed files; of few bits the float file lies beside them, with rounded weights."""
    names = [file.file for file in quality.files]
    return ", ".join(["model.onnx", *names] if quality.has_bits else names)


def _stages(quality: Quality) -> str:
    if quality.preprocess_ms is None or quality.postprocess_ms is None:
        return ""
    return (
        f"One image: {quality.preprocess_ms:.2f} ms to make it ready, {quality.own.latency_ms:.2f} ms in the "
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


def _detection(entry: Entry, board: Leaderboard) -> str:
    """Return what mAP does not tell, a paragraph for each file; nothing for rows of earlier versions."""
    parent = board.parent.quality.detection if board.parent.quality else None
    lines = [f"\n{file}: {escaped(in_words(detection, parent))}" for file, detection in detection_files(entry)]
    worst = worst_layers_text((entry.quality and entry.quality.worst_layers) or {})
    return "\n".join([*lines, *([f"\n{LAYERS_LEGEND} {escaped(worst)}."] if worst else [])])
