"""What the numbers of a run say, in sentences that claim no more than the numbers do."""

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from evaluators.result import Result, Status
from evaluators.runtimes.precision import Precision
from leaderboards.choice import Choice
from leaderboards.columns import called
from leaderboards.entry import Entry
from leaderboards.leaderboard import Leaderboard
from leaderboards.reports.agreement import MIN_N, agreement
from leaderboards.select import select
from leaderboards.wording import number, one_line, percent
from spaces.bases.names import SAME, BaseName
from spaces.errors import NothingFeasible


class Tile(NamedTuple):
    """One number of the best model and how it compares with the parent's."""

    title: str
    value: str
    unit: str
    comparison: str


def best(board: Leaderboard) -> Choice | None:
    """Return what `select` picks under the board's own limits; None if nothing meets them."""
    try:
        return select(board, board.limits)
    except NothingFeasible:
        return None


def headline(board: Leaderboard) -> str:
    """Return the best model within the budget in one sentence, or what comes nearest."""
    try:
        choice = select(board, board.limits)
    except NothingFeasible as nothing:
        return f"Nothing meets the budget: {nothing}."
    where = "within the budget" if board.limits else "(no budget was set)"
    if choice.entry is board.parent:
        return (
            f"The parent's {called(choice.file)} file is the best model {where}: {board.measure} {choice.map50_95:.3f}."
        )
    name = f"{one_line(choice.entry.id)} ({called(choice.file)})"
    text = f"{name} is the best model {where}: {board.measure} {choice.map50_95:.3f}"
    parent = board.parent.quality
    if parent is None:
        return f"{text}."
    kept = choice.readings["gflops"] / parent.gflops
    share = f"{percent(choice.map50_95 / parent.map50_95)} of " if parent.map50_95 > 0 else "beside "
    return (
        f"{text}, {share}the parent's {parent.map50_95:.3f}, with {percent(kept)} of its MACs and "
        f"{_speed(parent.own.latency_ms / choice.readings['latency_ms'])}.{_beside_reference(board, choice)}"
    )


def _beside_reference(board: Leaderboard, choice: Choice) -> str:
    """Return what the best reference within the limits has, the alternative to `choice`; nothing without one."""
    known = [found for entry in board.references if (found := board.choice(entry))]
    if not known or choice.entry in board.references:
        return ""
    best_known = max(known, key=lambda found: found.map50_95)
    what = _what_it_is(best_known.entry)
    return f" {what[0].upper()}{what[1:]} has {best_known.map50_95:.3f}."


def judge_sentences(board: Leaderboard) -> list[str]:
    """Return what stands in the place of labels where there are none."""
    if board.is_labelled:
        return []
    return [
        "Nothing was judged by labels: agreement is the mAP50-95 that a row has where what the parent's own network "
        "finds is taken for true."
    ]


def reference_sentences(board: Leaderboard) -> list[str]:
    """Return for each reference what it is, and which rows it beats in mAP and in every cost that counts."""
    told = []
    for entry in board.references:
        beaten = [one_line(row.id) for row in board.rows if board.beaten_by(row) == entry.id]
        worse = f"; it beats {', '.join(beaten)}" if beaten else ""
        told.append(f"{one_line(entry.id)} is {_what_it_is(entry)}{worse}.")
    return told


def _what_it_is(reference: Entry) -> str:
    backbone = BaseName.parse(reference.candidate.base).backbone
    network = "the whole network" if backbone == SAME else f"the rival {backbone}"
    return f"{network} fed {reference.imgsz} px"


def tiles(board: Leaderboard) -> list[Tile]:
    """Return the numbers of the best model beside the parent's fp32 file; none if nothing meets the budget."""
    choice, parent = best(board), board.parent.quality
    if choice is None:
        return []
    costs = (("GFLOPs", "gflops", ""), ("Parameters", "params_m", "M"), ("Size", "size_mb", "MB"),
             ("Latency", "latency_ms", "ms"))  # fmt: skip
    score = Tile(board.measure, f"{choice.map50_95:.3f}", "", f"parent {parent.map50_95:.3f}" if parent else "")
    of_parent = parent.readings() if parent else {}
    return [score] + [
        Tile(title, number(choice.readings[name]), unit, _beside(choice.readings[name], of_parent.get(name)))
        for title, name, unit in costs
    ]


def agreement_sentence(board: Leaderboard) -> str:
    """Return how far the proxy put the candidates in their final order, with n and what chance alone would do."""
    found = agreement(board)
    if found is None:
        return f"Too few fine-tuned candidates with different values to say (a correlation needs {MIN_N})."
    caution = "so this may well be chance" if found.kendall_p > 0.05 else "so chance is an unlikely explanation"
    spread = found.interval
    between = f" (95 % of resamples: {spread.low:.2f} to {spread.high:.2f})" if spread else ""
    return (
        f"Spearman {found.spearman:.2f}{between}, Kendall {found.kendall:.2f} over n = {found.n} fine-tuned "
        f"candidates. Unrelated orders would agree or disagree this much with probability {found.kendall_p:.2g} "
        f"(Kendall), {caution}. Fine-tuning only the proxy's first choice would have cost {found.regret:.3f} "
        f"{_short(board)}. "
        "Only the front of the search was fine-tuned, which narrows the range and weakens any correlation."
    )


def search_sentence(results: Sequence[Result]) -> str:
    """Return how many candidates were proposed and what became of them."""
    counts = Counter(result.status for result in results)
    seconds = sum(result.seconds for result in results)
    return (
        f"{len(results)} proposed: {counts[Status.DONE]} measured, {counts[Status.OVER_BUDGET]} over the budget, "
        f"{counts[Status.FAILED]} failed; {number(seconds / 60)} worker minutes."
    )


def int8_sentence(board: Leaderboard) -> str:
    """Return what INT8 costs in mAP and where it is slower."""
    measured = [entry.quality for entry in (board.parent, *board.rows) if entry.quality]
    pairs = [(quality, int8) for quality in measured if (int8 := quality.file(Precision.INT8))]
    if not pairs:
        return "Nothing was measured."
    changes = sorted((f"{int8.map50_95 - quality.map50_95:+.3f}" for quality, int8 in pairs), key=float)
    n_slower = sum(int8.latency_ms > quality.own.latency_ms for quality, int8 in pairs)
    span = " to ".join(dict.fromkeys((changes[0], changes[-1])))
    changed = f"From fp32 to INT8 the {_short(board)} changes by {span}"
    return f"{changed}; the INT8 file is slower in {n_slower} of {len(pairs)} rows."


def _short(board: Leaderboard) -> str:
    return "mAP" if board.is_labelled else board.measure


def _beside(value: float, parent: float | None) -> str:
    return "" if parent is None else f"{percent(value / parent)} of {number(parent)}"


def _speed(factor: float) -> str:
    return f"{factor:.2g} times as fast" if factor >= 1 else f"{1 / factor:.2g} times as slow"
