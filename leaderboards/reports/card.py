"""The model card of a row."""

from leaderboards.entry import PARENT, Entry, Quality
from leaderboards.leaderboard import Leaderboard
from leaderboards.reports.judged_table import LAYERS_LEGEND, in_words, judged_files, worst_layers_text
from leaderboards.reports.render import escaped
from leaderboards.run_folder import NO_PT
from spaces.bases.base import SAME, BaseName

FP32_HEADING = "fp32 (model.onnx)"


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
