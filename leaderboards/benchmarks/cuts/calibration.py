"""What BatchNorm calibration is worth, how many images it needs, and where the statistics drift.

Candidates are cut once; of each, three sets of weights (the parent's as they are, one-shot and sequentially
reconstructed on the recipe's own calibration images) are measured on the val split with the parent's statistics and
with statistics taken anew from ever more images of train. The weights stay, so only calibration differs in a row. The
statistics of the largest number are also corrected by what those images are known to tell wrong about the parent.
"""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from ultralytics.nn.tasks import DetectionModel

from evaluators.accuracy.detection import coco_map, predict
from evaluators.data.images import Images, load_images
from leaderboards.benchmarks.arguments import known_data, parts_of
from leaderboards.benchmarks.record import Cell, Record
from leaderboards.environment import environment
from leaderboards.runs.prepare import prepare
from leaderboards.runs.studies import make_supernets
from spaces.build import BATCH, Builder
from spaces.candidate import Candidate
from spaces.networks.threads import one_thread
from spaces.recovery.calibration import (
    Statistics,
    correct_statistics,
    gather_statistics,
    merge_statistics,
    read_statistics,
    set_statistics_,
)
from spaces.recovery.recovery import Recovery

COUNTS = (8, 16, 32, 64, 128)  # images
SHARES = (0.5, 0.6, 0.5)  # of the parent's MACs, one candidate each
WEIGHTS = {Recovery.NOTHING: "as cut", Recovery.ONE_SHOT: "one_shot", Recovery.RECONSTRUCT: "reconstruct"}
N_WORKERS = 3
TARGET, MERGE_TARGET = 0.002, 1e-5


@dataclass(frozen=True, eq=False)
class _Inherited:
    """The parent's statistics on the channels that one candidate keeps: as it came, on few images, on all of train."""

    own: Statistics
    few: Statistics
    many: Statistics


@dataclass(frozen=True, eq=False)
class _Testbed:
    """The images of one data set.

    Attributes:
        train: all of train, in a seeded order; the first n are the n calibration images.
        val: what mAP is measured on.
        few: the parent's statistics on the first COUNTS[-1] images of train.
        many: the parent's statistics on all of train.
    """

    train: Images
    val: Images
    few: Statistics
    many: Statistics

    def quality(self, model: DetectionModel) -> float:
        """Return the mAP50-95 of `model` on val."""
        return coco_map(predict(model, self.val), self.val).map50_95


def calibration(*, data: str = "") -> Record:
    """Return how far mAP after calibration on 128 images is from mAP after calibration on the whole of train.

    The rows also hold what is left of it when the statistics of the 128 images are corrected by the parent's, for which
    the parent alone sees the whole of train, once. Nothing but this benchmark does that: it is no part of a run.

    Args:
        data: digits or bccd; by default digits, and bccd too where REAL_DATA leads to it.
    """
    names = [data] if data else [name for name in known_data() if name != "coco128"]
    with one_thread():
        rows = [row for name in names for row in _rows(name)]
    value = max(abs(float(row["gap"])) for row in rows)
    merge_error = max(float(row["merge_error"]) for row in rows)
    return Record(
        "calibration",
        f"largest difference in val mAP50-95 between calibration on {COUNTS[-1]} images and on the whole of train",
        value,
        f"at most {TARGET}, with the statistics of {N_WORKERS} workers merged equal to one worker's to {MERGE_TARGET}",
        value <= TARGET and merge_error <= MERGE_TARGET,
        rows,
        environment(),
        f"python run_search.py bench calibration{f' data={data}' if data else ''} --json",
    )


def _rows(name: str) -> list[dict[str, Cell]]:
    """Return a row for each candidate and each set of weights on the data set `name`."""
    parts = parts_of(name)
    problem = prepare(parts)
    dataset = problem.inputs.dataset
    order = np.random.default_rng(parts.ranking.seed).permutation(len(dataset.train))
    train = load_images([dataset.train[index] for index in order], imgsz=parts.bases.imgsz)
    build = make_supernets(parts.making, problem).same.builder("cpu")
    few, many = (_gather(build.parent, train, count) for count in (COUNTS[-1], len(train)))
    testbed = _Testbed(train, load_images(dataset.val, imgsz=parts.bases.imgsz), few, many)
    rows = []
    for index, share in enumerate(SHARES):
        limits = {"macs_g": share * problem.parent_costs["macs_g"]}
        candidate = problem.space.sample(np.random.default_rng([parts.ranking.seed, index]), limits=limits)
        inherited = _inherit(build, candidate, testbed)
        for recovery, weights in WEIGHTS.items():
            about: dict[str, Cell] = {"data": name, "candidate": candidate.id, "macs_kept": share, "weights": weights}
            rows.append(about | _diagnose(build(candidate, recovery), inherited, testbed))
    return rows


def _inherit(build: Builder, candidate: Candidate, testbed: _Testbed) -> _Inherited:
    """Return the parent's statistics cut to `candidate`."""
    cut = [read_statistics(build(candidate, Recovery.NOTHING), n_images=0)]
    for statistics in (testbed.few, testbed.many):
        parent = copy.deepcopy(build.parent)
        set_statistics_(parent, statistics)
        twin = Builder(parent, build.graph, build.space, images=build.images, study=build.study)
        cut.append(read_statistics(twin(candidate, Recovery.NOTHING), n_images=statistics.n_images))
    return _Inherited(*cut)


def _diagnose(model: DetectionModel, inherited: _Inherited, testbed: _Testbed) -> dict[str, Cell]:
    """Return the mAP of `model`, whose statistics are changed, at each number of images, and what drifted."""
    found = {count: _gather(model, testbed.train, count) for count in (*COUNTS, len(testbed.train))}
    whole, last = found[len(testbed.train)], found[COUNTS[-1]]
    row: dict[str, Cell] = {"uncalibrated": _quality_with(model, inherited.own, testbed)}
    row |= {f"images_{count}": _quality_with(model, found[count], testbed) for count in COUNTS}
    row |= {"train": _quality_with(model, whole, testbed), "n_train": len(testbed.train)}
    row["corrected"] = _quality_with(model, correct_statistics(last, inherited.few, inherited.many), testbed)
    row["gap"] = float(row[f"images_{COUNTS[-1]}"]) - float(row["train"])
    row["gap_corrected"] = float(row["corrected"]) - float(row["train"])
    row |= _worst("from_parent", drift(whole, inherited.own))
    row |= _worst(f"from_train_at_{COUNTS[-1]}", drift(last, whole))
    row["merge_error"] = max(drift(_by_workers(model, testbed.train), last).values())
    return row


def drift(statistics: Statistics, reference: Statistics, /) -> dict[str, float]:
    """Return how far the BatchNorm input of each layer has moved, mean over its channels.

    A channel of mean m and deviation s, against M and S in the reference, has moved by |m - M| / S + |s / S - 1|.
    """
    moved = {}
    for name, mean in statistics.means.items():
        scale, own = (each.variances[name].clamp_min(1e-12).sqrt() for each in (reference, statistics))
        shift, stretch = (mean - reference.means[name]).abs() / scale, (own / scale - 1).abs()
        moved[name] = float((shift + stretch).mean())
    return moved


def _gather(model: DetectionModel, images: Images, count: int) -> Statistics:
    return gather_statistics(model, next(images.parts(count)).batches(BATCH))


def _by_workers(model: DetectionModel, images: Images) -> Statistics:
    """Return the statistics of as many images as the last count has, each batch seen by one of several workers."""
    batches = list(next(images.parts(COUNTS[-1])).batches(BATCH))
    return merge_statistics([gather_statistics(model, batches[worker::N_WORKERS]) for worker in range(N_WORKERS)])


def _quality_with(model: DetectionModel, statistics: Statistics, testbed: _Testbed) -> float:
    set_statistics_(model, statistics)
    return testbed.quality(model)


def _worst(name: str, moved: Mapping[str, float]) -> dict[str, Cell]:
    """Return the median of the layers and the worst one by name."""
    worst = max(moved, key=lambda layer: moved[layer])
    values: Sequence[float] = list(moved.values())
    return {f"drift_{name}": float(np.median(values)), f"worst_{name}": f"{worst} {moved[worst]:.3g}"}
