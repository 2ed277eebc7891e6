"""EagleEye as it was published against its public YOLOv5 port: what does each one's calibration tell of a candidate?

The same sub-networks, drawn on the budget and cut by L1, calibrated both ways on the same images: as published, the
statistics of BatchNorm are replaced by those of a fixed set; as in the port, they drift at momentum 0.03 for 22 batches
that go on where the candidate before stopped, and half of the parent's stay. Both rank by mAP on a hold-out of train.
The final is the mAP on val after fine-tuning from the published calibration, and beside it, for nothing, the mAP on
the hold-out after sequential reconstruction of the same channels.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from evaluators.accuracy.detection import score
from evaluators.data.images import Images, load_images
from evaluators.result import Job, Status
from leaderboards.benchmarks.arguments import command, measured, parts_of, read_count
from leaderboards.benchmarks.ranking.eagleeye import CALIBRATION_BATCH, N_BATCHES
from leaderboards.benchmarks.ranking.final_accuracy import READING, FineTuned
from leaderboards.benchmarks.ranking.testbed import Build, Testbed, make_testbed
from leaderboards.benchmarks.record import Cell, Record
from leaderboards.environment import environment
from leaderboards.recipes.keys import EMBEDDED
from leaderboards.reports.agreement import correlate
from leaderboards.run_path import run_folder
from leaderboards.runs.studies import make_supernets
from leaderboards.tuning.finetune import finetune_recipe
from search.journal import Journal
from spaces.candidate import Candidate
from spaces.errors import BadInput
from spaces.recovery.calibration import calibrate_bn_
from spaces.recovery.recovery import Recovery

PUBLISHED, PORT, SEQUENTIAL = "published", "port", "sequential"
Scores = Mapping[str, float]


def eagleeye_calibration(
    *, data: str = EMBEDDED, n: str = "40", tuned: str = "40", epochs: str = "1", workers: str = "1", out: str = ""
) -> Record:
    """Return how much the published calibration's rank correlation with fine-tuned mAP is above the port's.

    Args:
        data: digits, or bccd where REAL_DATA leads to it.
        n: candidates at 60 % of the MACs.
        tuned: how many of them, the first ones, are fine-tuned; the two winners are in any case.
        out: a run folder for the journal; what is fine-tuned already is not again.
    """
    count, n_tuned = read_count("n", n, least=4), read_count("tuned", tuned, least=0)
    words = ("importance=l1", "recovery=adaptive_bn", f"finetune_epochs={epochs}", f"workers={workers}")
    testbed = make_testbed(data, parts_of(data, *words))
    rows = compare(testbed, n=count, n_tuned=n_tuned, folder=run_folder(out or f"eagleeye-calibration-{data}"))
    gain = gain_of(rows)
    return Record(
        f"eagleeye_calibration_{data}",
        "Spearman with fine-tuned mAP of the published calibration above that of the port's",
        gain,
        "at least 0",
        gain >= 0,
        rows,
        environment(),
        command("eagleeye_calibration", data, f"n={n} tuned={tuned} epochs={epochs}"),
    )


def compare(testbed: Testbed, *, n: int, n_tuned: int, folder: Path) -> list[dict[str, Cell]]:
    """Return a row for each calibration of the same `n` candidates, of which the first `n_tuned` are fine-tuned too.

    Args:
        folder: where the journal of the fine-tuning is kept.
    """
    candidates = [testbed.draw(index) for index in range(n)]
    scores = _scores(testbed, candidates)
    winners = {name: best(scores, name) for name in (PUBLISHED, PORT)}
    chosen = sorted({*range(min(n_tuned, n)), *winners.values()})
    final = _final(testbed, candidates, chosen, folder=folder)
    return [_row(name, scores, final, winners[name]) for name in (PUBLISHED, PORT)]


def best(scores: Sequence[Scores], name: str, /) -> int:
    """Return the candidate that `name` puts first; of equal ones the first."""
    return int(np.argmax([each[name] for each in scores]))


def _scores(testbed: Testbed, candidates: Sequence[Candidate]) -> list[Scores]:
    """Return the mAP on the hold-out of each candidate, by what calibrated it."""
    images = load_images(
        testbed.problem.inputs.holdout.rest[: N_BATCHES * CALIBRATION_BATCH], imgsz=testbed.scored.imgsz
    )
    builders = testbed.builders(testbed.parts.making.calibration_images, (Recovery.NOTHING, Recovery.RECONSTRUCT))
    return [_score(testbed, candidate, images, builders) for candidate in candidates]


def _score(
    testbed: Testbed, candidate: Candidate, images: Images, builders: Mapping[Recovery, Build], /
) -> dict[str, float]:
    published, drifted = builders[Recovery.NOTHING](candidate), builders[Recovery.NOTHING](candidate)
    calibrate_bn_(published, images.batches(CALIBRATION_BATCH))
    testbed.port.calibrate_(drifted)
    networks = {PUBLISHED: published, PORT: drifted, SEQUENTIAL: builders[Recovery.RECONSTRUCT](candidate)}
    return {name: score(network, testbed.scored)["map50_95"] for name, network in networks.items()}


def _final(
    testbed: Testbed, candidates: Sequence[Candidate], chosen: Sequence[int], *, folder: Path
) -> dict[int, float]:
    """Return the fine-tuned mAP on val of the `chosen` candidates.

    Raises:
        BadInput: one of them failed; with its error.
    """
    parts, problem = testbed.parts, testbed.problem
    folder.mkdir(parents=True, exist_ok=True)
    identity = {**parts.identity, "n": len(candidates), "data": problem.inputs.dataset.fingerprint}
    with Journal(folder / "final.jsonl", identity) as journal:
        missing = [Job(number, candidates[number]) for number in chosen if number not in journal.results]
        val = load_images(problem.inputs.dataset.val, imgsz=parts.bases.imgsz)
        tuning = finetune_recipe(parts.tuning, n_classes=len(problem.inputs.dataset.names))
        supernets = make_supernets(parts.making, problem)
        tune = FineTuned(supernets, problem.inputs.dataset.train, val, tuning, len(candidates))
        for result in measured(lambda: tune, missing, workers=parts.place.workers):
            journal.append_result(result)
        results = {number: journal.results[number] for number in chosen}
    if failed := [result.error for result in results.values() if result.status is not Status.DONE]:
        raise BadInput(f"{len(failed)} candidates failed, the first with: {failed[0]}")
    return {number: result.readings[READING] for number, result in results.items()}


def _row(name: str, scores: Sequence[Scores], final: Mapping[int, float], winner: int) -> dict[str, Cell]:
    own = [each[name] for each in scores]
    return {
        "calibration": name,
        "n": len(own),
        "mean_map": float(np.mean(own)),
        "best_map": own[winner],
        **_agreement("sequential", own, [each[SEQUENTIAL] for each in scores]),
        "n_tuned": len(final),
        **_agreement("tuned", [own[number] for number in final], list(final.values())),
        "winner_tuned_map": final[winner],
        "best_tuned_map": max(final.values()),
    }


def _agreement(name: str, scores: Sequence[float], final: Sequence[float]) -> dict[str, Cell]:
    """Return Spearman's correlation and its interval, dashes where there is no order or are too few."""
    found = correlate(scores, final)
    low, high = ("-", "-") if found is None or found.interval is None else found.interval
    spearman: Cell = "-" if found is None else found.spearman
    return {f"spearman_{name}": spearman, f"spearman_{name}_low": low, f"spearman_{name}_high": high}


def gain_of(rows: Sequence[Mapping[str, Cell]], /) -> float:
    """Return the difference of the correlations with fine-tuned mAP, or with reconstructed where too few are tuned."""
    key = "spearman_tuned" if all(row["spearman_tuned"] != "-" for row in rows) else "spearman_sequential"
    published, port = (0.0 if row[key] == "-" else float(row[key]) for row in rows)
    return published - port
