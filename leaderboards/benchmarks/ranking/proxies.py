"""Does a score that costs a second predict the mAP that costs an hour? Every proxy on the same fine-tuned candidates.

Each is timed on its own, one thread, the network built anew: the seconds are what a search by it alone would pay.
"""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from evaluators.data.images import Images, load_images
from evaluators.metric import COSTS, MACS, PARAMS
from evaluators.proxies.blend import fit_blend
from evaluators.proxies.by_name import FIXED, METRICS
from evaluators.proxies.recovered import evaluator_of
from evaluators.result import Job, Result, Status
from evaluators.worker import Supernets
from leaderboards.benchmarks.arguments import command, measured, parts_of, read_count, read_shares
from leaderboards.benchmarks.ranking.final_accuracy import FinalAccuracy, final_accuracies
from leaderboards.benchmarks.ranking.rank_correlation import (
    LEAST_GAIN,
    LEAST_SPEARMAN,
    MOST_REGRET,
    MOST_TIME,
    PEER,
    UNKNOWN,
    Column,
    RankCorrelation,
    by_spearman,
    ceiling,
    correlation,
    holds,
    mean_spearman,
)
from leaderboards.benchmarks.record import Cell, Record
from leaderboards.environment import environment
from leaderboards.recipes.keys import EMBEDDED
from leaderboards.recipes.parts import Parts
from leaderboards.reports.agreement import MIN_N
from leaderboards.run_path import run_folder
from leaderboards.runs.prepare import prepare
from leaderboards.runs.problem import Problem
from leaderboards.runs.studies import make_supernets
from search.journal import Journal
from spaces.build import Subnet
from spaces.errors import BadInput
from spaces.study import losses_by_block

Floats = NDArray[np.float64]

FOLDS = 5
ARITHMETIC = ("block_loss", "reconstruction_loss", "kept_l1", "kept_contribution", "kept_taylor", "kept_fisher")


@dataclass(frozen=True)
class Mixture:
    """What a blend is made of.

    Attributes:
        scores: the readings that it weighs.
        n_anchors: the most fine-tuned candidates that it may learn from.
        has_blocks: whether it weighs the loss of each block by itself too.
    """

    scores: tuple[str, ...]
    n_anchors: int = 1_000_000
    has_blocks: bool = False


BLENDS = {
    "blend": Mixture((*ARITHMETIC, PARAMS.name, MACS.name)),
    "blend_24_anchors": Mixture((*ARITHMETIC, PARAMS.name, MACS.name), n_anchors=24),
    "blend_blocks": Mixture((*ARITHMETIC, PARAMS.name, MACS.name), has_blocks=True),
    "blend_one_shot": Mixture((*ARITHMETIC, PARAMS.name, MACS.name, "loss_one_shot")),
}


def proxies(
    *,
    data: str = EMBEDDED,
    n: str = "60",
    budgets: str = "50,40",
    epochs: str = "",
    repeats: str = "12",
    workers: str = "2",
    out: str = "",
) -> Record:
    """Return how well the best proxy orders fine-tuned candidates of equal cost.

    Args:
        data: digits, or bccd where REAL_DATA leads to it.
        n: candidates at each budget.
        budgets: in percent of the parent's MACs.
        epochs: of fine-tuning; the recipe's own by default.
        repeats: candidates of each budget that are fine-tuned with a second seed.
        out: a run folder for the journals; what is there already is not measured again.
    """
    shares, n_each = read_shares("budgets", budgets), read_count("n", n, least=MIN_N)
    n_repeats = read_count("repeats", repeats, least=0)
    parts = parts_of(data, f"workers={workers}", *([f"finetune_epochs={epochs}"] if epochs else []))
    problem = prepare(parts)
    supernets = make_supernets(parts.making, problem)
    folder = run_folder(out or f"proxies-{data}")
    drawn = final_accuracies(parts, problem, supernets, shares=shares, n=n_each, repeats=n_repeats, folder=folder)
    known = list({final.candidate.id: final for final in drawn}.values())  # a blend must not meet its anchors again
    results = measure_proxies(parts, problem, supernets, known, folder)
    bins = {share: _bin(share, known, results, supernets) for share in shares}
    rows = [row for share, correlations in bins.items() for row in _rows(data, share, known, correlations)]
    words = f"n={n} budgets={budgets} epochs={parts.tuning.epochs} repeats={repeats} workers={workers}"
    return _record(data, list(bins.values()), rows, words)


def measure_proxies(
    parts: Parts, problem: Problem, supernets: Supernets, known: Sequence[FinalAccuracy], folder: Path
) -> dict[str, Result]:
    """Return the readings of every proxy and its seconds, by candidate id; what the journal has is not repeated."""
    images = load_images(problem.inputs.holdout.search, imgsz=parts.bases.imgsz)
    unique = {final.candidate.id: final.candidate for final in known}
    identity = {**parts.identity, "proxies": sorted(FIXED), "data": problem.inputs.dataset.fingerprint}
    with Journal(folder / "proxies.jsonl", identity) as journal:
        done = {result.candidate.id for result in journal.results.values()}
        first = max(journal.results, default=-1) + 1
        asked = [candidate for candidate in unique.values() if candidate.id not in done]
        missing = [Job(number, candidate) for number, candidate in enumerate(asked, first)]
        for result in measured(partial(measure_all, supernets, images), missing, workers=parts.place.workers):
            journal.append_result(result)
        return {result.candidate.id: result for result in journal.results.values() if result.status is Status.DONE}


def measure_all(supernets: Supernets, images: Images) -> Callable[[Job], Result]:
    """Return what measures every proxy of a candidate, and its seconds, in one worker."""
    torch.set_num_threads(1)
    builder = supernets.same.builder("cpu")
    evaluators = {name: evaluator_of(name, images, supernets.recovery) for name in FIXED}

    def measure(job: Job) -> Result:
        readings = dict(supernets.same.base.space.costs(job.candidate))
        for name, evaluate in evaluators.items():
            subnet = Subnet(job.candidate, builder)
            started = time.perf_counter()
            try:
                value = evaluate(subnet)[name]
            except (ValueError, FloatingPointError):  # it has no finite value, and no rank then
                continue
            if math.isfinite(value):
                readings |= {name: value, _seconds(name): time.perf_counter() - started}
        return Result(job.number, job.candidate, Status.DONE, readings, 0.0)

    return measure


def columns_of(
    results: Sequence[Result], of_all: Sequence[Result], final_of_all: Floats, /, *, blocks: Floats
) -> list[Column]:
    """Return what each proxy says of `results`; blends learn from the candidates of all budgets but never their own.

    Args:
        of_all: the results of all budgets, with their final accuracies (n,).
        blocks: (n, n_genes) of these, what each block loses.
    """
    table = {name: _values(name, results) for name in (*FIXED, PARAMS.name, MACS.name)}
    seconds = {name: _median(_values(_seconds(name), results)) for name in table}
    columns = [Column(name, _oriented(name, values), seconds[name]) for name, values in table.items()]
    place = {id(result): index for index, result in enumerate(of_all)}
    for name, mixture in BLENDS.items():
        features = _features(mixture, of_all)
        if mixture.has_blocks:
            features = np.hstack([features, np.sqrt(blocks)])
        predicted = cross_validated(features, final_of_all, n_anchors=mixture.n_anchors)
        scores = predicted[[place[id(result)] for result in results]]
        columns.append(Column(name, scores, sum(seconds[part] for part in mixture.scores)))
    return columns


def cross_validated(features: Floats, final: Floats, /, *, n_anchors: int) -> Floats:
    """Return what a blend says of each candidate (n,) that learned from at most `n_anchors` of the other four folds.

    A candidate with a feature that is NaN is not learned from, and NaN is said of it.
    """
    rng = np.random.default_rng(0)
    fold = rng.permutation(len(final)) % FOLDS
    is_known = np.isfinite(features).all(1)
    said = np.full(len(final), np.nan)
    for index in range(FOLDS):
        anchors = rng.permutation(np.flatnonzero((fold != index) & is_known))[:n_anchors]
        asked = np.flatnonzero((fold == index) & is_known)
        if len(anchors) >= FOLDS:
            said[asked] = fit_blend(features[anchors], final[anchors]).predict(features[asked])
    return said


def _bin(
    share: float, known: Sequence[FinalAccuracy], results: Mapping[str, Result], supernets: Supernets
) -> list[RankCorrelation]:
    """Return the rank correlation of each proxy at the budget `share`.

    Raises:
        BadInput: too few candidates of this budget could be measured.
    """
    measured = [final for final in known if final.candidate.id in results]
    inside = [final for final in measured if final.share == share]
    if len(inside) < MIN_N:
        raise BadInput(f"budgets: {MIN_N} candidates must be measured at {share:.0%}, {len(inside)} could be")
    of_all = [results[final.candidate.id] for final in measured]
    final_of_all = np.array([final.map50_95[0] for final in measured])
    keep = np.stack([supernets.same.base.space.decode(final.candidate) for final in measured])
    columns = columns_of(
        [results[final.candidate.id] for final in inside],
        of_all,
        final_of_all,
        blocks=losses_by_block(supernets.same.study, keep),
    )
    return correlation(columns, np.array([final.map50_95[0] for final in inside]))


def _record(
    data: str, bins: Sequence[Sequence[RankCorrelation]], rows: Sequence[Mapping[str, Cell]], words: str
) -> Record:
    ranked = [proxy for proxy in by_spearman(bins) if proxy not in BLENDS]  # whose anchors cost hours beforehand
    return Record(
        f"proxies_{data}",
        f"Spearman with fine-tuned mAP of the best proxy, {ranked[0]}, mean over budgets",
        mean_spearman(bins, ranked[0]),
        f"one proxy, at each budget: at least {LEAST_SPEARMAN:g}, {LEAST_GAIN:g} above {PEER} with an interval above "
        f"0, in at most {MOST_TIME:.0%} of its time, top-1 regret at most {MOST_REGRET:g}; blends do not count",
        any(holds(bins, proxy) for proxy in ranked),
        rows,
        environment(),
        command("proxies", data, words),
    )


def _rows(
    data: str, share: float, known: Sequence[FinalAccuracy], correlations: Sequence[RankCorrelation]
) -> list[Mapping[str, Cell]]:
    twice = [final.map50_95[:2] for final in known if final.share == share and len(final.map50_95) > 1]
    most = ceiling([(first, second) for first, second in twice])
    head: dict[str, Cell] = {"data": data, "budget": f"{share:.0%}"}
    tail: dict[str, Cell] = {"ceiling": UNKNOWN if most is None else most}
    ordered = sorted(correlations, key=lambda one: -(one.spearman or 0.0))
    return [{**head, **one.to_row(), **tail} for one in ordered]


def _features(mixture: Mixture, results: Sequence[Result]) -> Floats:
    """Return the scores that are blended, (n, n_scores), those that are losses as logarithms."""
    columns = []
    for name in mixture.scores:
        values = _values(name, results)
        columns.append(values if name.startswith("kept") else np.log(np.maximum(values, 1e-12)))
    return np.stack(columns, 1)


def _values(name: str, results: Sequence[Result]) -> Floats:
    return np.array([result.readings.get(name, np.nan) for result in results])


def _median(seconds: Floats) -> float:
    known = seconds[np.isfinite(seconds)]
    return float(np.median(known)) if len(known) else 0.0  # the arithmetic of costs takes none that counts


def _oriented(name: str, values: Floats) -> Floats:
    """Return `values` such that higher is better; of costs more is, for the quality of a network."""
    metric = METRICS[name]
    return values if metric in COSTS else np.array([-metric.loss(value) for value in values])


def _seconds(name: str) -> str:
    return f"{name}_seconds"
