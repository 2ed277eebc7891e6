"""What mAP does not tell of each row, as a table of text: once for Markdown and HTML."""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from leaderboards.entry import Entry
from leaderboards.judgement import Judgement
from leaderboards.leaderboard import Leaderboard
from leaderboards.wording import one_line

N_CLASSES = 3
JUDGED_LEGEND = (
    "At IoU 0.5 over all classes, on the val split: the score threshold of the best F1, its shift from the parent's, "
    "and what is still found where the parent's threshold is kept. Classes: mAP50-95 against the parent's."
)
LAYERS_LEGEND = "Layers whose bits cost the most, by signal-to-quantization-noise ratio:"
HEADINGS = (
    "best F1", "at threshold", "vs parent", "precision", "recall", "recall at the parent's threshold",
)  # fmt: skip


class JudgedRow(NamedTuple):
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


def judged_rows(board: Leaderboard, /) -> list[JudgedRow]:
    """Return a row for each file that was judged, the parent's first; none for runs of earlier versions."""
    parent = board.parent.quality.judged if board.parent.quality else None
    return [
        JudgedRow(one_line(entry.id, width=64), file, _cells(judged, parent), worst_classes(judged, parent))
        for entry in (board.parent, *board.rows)
        for file, judged in judged_files(entry)
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


def worst_classes(judged: Judgement, parent: Judgement | None, /) -> str:
    """Return up to three classes in which a file is below the parent's, the furthest first."""
    if parent is None:
        return ""
    before = parent.class_map50_95
    changes = {name: value - before[name] for name, value in judged.class_map50_95.items() if name in before}
    worst = sorted((change, name) for name, change in changes.items() if change < 0)[:N_CLASSES]
    return ", ".join(f"{one_line(name, width=40)} {change:+.3f}" for change, name in worst)


def judged_files(entry: Entry, /) -> Iterator[tuple[str, Judgement]]:
    """Yield what was judged of `entry`, its own network and its INT8 file, with what to call them."""
    if entry.quality is not None:
        own = "simulated" if entry.quality.worst_layers else "fp32"
        files = ((own, entry.quality.judged), ("INT8", entry.quality.int8_judged))
        yield from ((name, judged) for name, judged in files if judged is not None)


def in_words(judged: Judgement, parent: Judgement | None, /) -> str:
    """Return `judged` in two sentences, all its classes among them."""
    beside = "" if parent is None else f" (parent {parent.f1_threshold:.3f})"
    classes = ", ".join(f"{one_line(name, width=40)} {value:.3f}" for name, value in judged.class_map50_95.items())
    return (
        f"best F1 {judged.f1:.3f} (precision {judged.precision:.3f}, recall {judged.recall:.3f}) at score threshold "
        f"{judged.f1_threshold:.3f}{beside}, recall at the parent's {judged.recall_at_parent_threshold:.3f}. "
        f"mAP50-95 by class: {classes}."
    )


def _cells(judged: Judgement, parent: Judgement | None) -> tuple[str, ...]:
    shift = "" if parent is None else f"{judged.f1_threshold - parent.f1_threshold:+.3f}"
    numbers = (judged.precision, judged.recall, judged.recall_at_parent_threshold)
    return (f"{judged.f1:.3f}", f"{judged.f1_threshold:.3f}", shift, *(f"{number:.3f}" for number in numbers))
