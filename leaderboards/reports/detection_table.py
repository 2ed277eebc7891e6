"""What mAP does not tell of each row, as a table of text: once for Markdown and HTML."""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from leaderboards.columns import title_of
from leaderboards.detection_metrics import DetectionMetrics
from leaderboards.entry import Entry
from leaderboards.leaderboard import Leaderboard
from leaderboards.wording import one_line

N_CLASSES = 3
DETECTION_LEGEND = (
    "At IoU 0.5 over all classes, on the val split: the score threshold of the best F1, its shift from the parent's, "
    "and what is still found where the parent's threshold is kept. Classes: mAP50-95 against the parent's."
)
LAYERS_LEGEND = "Layers whose bits cost the most, by signal-to-quantization-noise ratio:"
HEADINGS = (
    "best F1", "at threshold", "vs parent", "precision", "recall", "recall at the parent's threshold",
)  # fmt: skip


class DetectionRow(NamedTuple):
    """One file of one row as text.

    Attributes:
        cells: one for each of `HEADINGS`.
        file: "fp32", "INT8", or "simulated" for a network of few bits that no file runs as it is.
        classes: where it is furthest below the parent's own, in mAP50-95.
    """

    id: str
    file: str
    cells: tuple[str, ...]
    classes: str


def detection_rows(board: Leaderboard, /) -> list[DetectionRow]:
    """Return a row for each file whose detection was measured, the parent's first."""
    parent = board.parent.quality.detection if board.parent.quality else None
    return [
        DetectionRow(one_line(entry.id, width=64), file, _cells(detection, parent), worst_classes(detection, parent))
        for entry in (board.parent, *board.rows)
        for file, detection in detection_files(entry)
    ]


def layer_sentences(board: Leaderboard, /) -> list[str]:
    """Return for each row of few bits which layers its bits cost the most."""
    return [
        f"{one_line(entry.id, width=64)}: {worst}"
        for entry in (board.parent, *board.rows)
        if entry.quality and (worst := worst_layers_text(entry.quality.worst_layers or {}))
    ]


def worst_layers_text(worst: Mapping[str, float], /) -> str:
    """Return "9.cv2 11.3 dB, 4.cv1 12.0 dB" of signal-to-noise ratios."""
    return ", ".join(f"{name} {ratio:.1f} dB" for name, ratio in worst.items())


def worst_classes(detection: DetectionMetrics, parent: DetectionMetrics | None, /) -> str:
    """Return up to three classes in which a file is below the parent's, the furthest first."""
    if parent is None:
        return ""
    before = parent.class_map50_95
    changes = {name: value - before[name] for name, value in detection.class_map50_95.items() if name in before}
    worst = sorted((change, name) for name, change in changes.items() if change < 0)[:N_CLASSES]
    return ", ".join(f"{one_line(name, width=40)} {change:+.3f}" for change, name in worst)


def detection_files(entry: Entry, /) -> Iterator[tuple[str, DetectionMetrics]]:
    """Yield the metrics of the own network of `entry` and of files that differ from it, with what to call them."""
    if entry.quality is not None:
        is_apart = entry.quality.own.detection is not None  # the exact file does not find what the network does
        own = "simulated" if entry.quality.has_bits else "torch" if is_apart else "fp32"
        files = ((own, entry.quality.detection), *((title_of(file), file.detection) for file in entry.quality.files))
        yield from ((name, detection) for name, detection in files if detection is not None)


def in_words(detection: DetectionMetrics, parent: DetectionMetrics | None, /) -> str:
    """Return `detection` in two sentences, all its classes among them."""
    beside = "" if parent is None else f" (parent {parent.f1_threshold:.3f})"
    classes = ", ".join(f"{one_line(name, width=40)} {value:.3f}" for name, value in detection.class_map50_95.items())
    return (
        f"best F1 {detection.f1:.3f} (precision {detection.precision:.3f}, recall {detection.recall:.3f}) at score "
        f"threshold {detection.f1_threshold:.3f}{beside}, "
        f"recall at the parent's {detection.recall_at_parent_threshold:.3f}. "
        f"mAP50-95 by class: {classes}."
    )


def _cells(detection: DetectionMetrics, parent: DetectionMetrics | None) -> tuple[str, ...]:
    shift = "" if parent is None else f"{detection.f1_threshold - parent.f1_threshold:+.3f}"
    numbers = (detection.precision, detection.recall, detection.recall_at_parent_threshold)
    return (f"{detection.f1:.3f}", f"{detection.f1_threshold:.3f}", shift, *(f"{number:.3f}" for number in numbers))
