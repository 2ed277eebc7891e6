"""How fast is an evaluation? Candidates a minute beside the loop of the YOLOv5 port of EagleEye.

Equal work: both sides recover on as many images of train and score mAP on the same images, one thread each, taking
turns. Equal fidelity: each side at its own cheapest setting that still ranks candidates as its full one does.
"""

import time
from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import nn
from ultralytics.nn.tasks import DetectionModel

from evaluators.accuracy.detection import batch_of, coco_map, detections, predict, score
from leaderboards.benchmarks.arguments import known_data, read_count
from leaderboards.benchmarks.ranking.eagleeye import CALIBRATION_BATCH, detect, forward
from leaderboards.benchmarks.ranking.fidelity import cheapest, settings_of_ours, settings_of_port
from leaderboards.benchmarks.ranking.testbed import SHARE, Build, Stopwatch, Testbed, make_testbeds
from leaderboards.benchmarks.record import Cell, Record
from leaderboards.environment import environment
from spaces.errors import BadInput
from spaces.networks.folding import fold_bn
from spaces.networks.threads import one_thread
from spaces.recovery.recovery import Recovery

EQUAL_WORK, EQUAL_FIDELITY, MAP_SHARE = 5.0, 20.0, 0.15
PUBLISHED_DRAWS = 4.0  # of the port for a candidate of v5n at 60 % in its own space (reference/performance.md 0)
PARENT_GAP = 0.02  # in mAP: the port's NMS has another IoU threshold
ADAPTIVE_BN, RECONSTRUCTION = "adaptive BatchNorm", "reconstruction"
OF_PORT = ("propose", "inherit", "calibrate", "validate: forward", "validate: NMS", "validate: mAP")

Row = Mapping[str, Cell]


class Outcome(NamedTuple):
    """Equal work on one data set.

    Attributes:
        ratio: candidates a minute, ours over the port's.
        map_share: of NMS and mAP in the time of our candidate.
        propose_s: what it takes the port to find a candidate on the budget.
    """

    ratio: float
    map_share: float
    propose_s: float
    rows: list[Row]


def evaluation(
    *, candidates: str = "6", calibration: str = "128", ranked: str = "60", fidelity: str = "digits"
) -> Record:
    """Return how many times as many candidates a minute we score as the port does, at equal work.

    Args:
        candidates: how many each side evaluates at equal work.
        calibration: images that both sides recover on, a multiple of 32.
        ranked: candidates of the fidelity part, 0 to leave it out.
        fidelity: the data set of the fidelity part, digits or bccd.
    """
    n, n_images = read_count("candidates", candidates, least=1), read_count("calibration", calibration, least=1)
    n_ranked = read_count("ranked", ranked, least=0)
    if n_images % CALIBRATION_BATCH:
        raise BadInput(f"calibration must be a multiple of {CALIBRATION_BATCH}, got {n_images}")
    if fidelity not in set(known_data()) - {"coco128"}:
        raise BadInput(f"fidelity={fidelity!r:.60} must be digits, or bccd with REAL_DATA leading to it")
    with one_thread():
        testbeds = make_testbeds()
        outcomes = {name: compare(testbed, n=n, n_images=n_images) for name, testbed in testbeds.items()}
        rows = [row for outcome in outcomes.values() for row in outcome.rows]
        gain = 0.0
        if n_ranked:
            faithful = _fidelity(testbeds[fidelity], n_ranked, outcomes[fidelity].propose_s)
            gain = float(faithful[-1]["value"])
            rows += faithful
    if "bccd" not in testbeds:
        rows.append({"data": "bccd", "side": "both", "what": "left out: REAL_DATA is not set", "value": False})
    lead = outcomes.get("bccd", outcomes["digits"])
    worst_share = max(outcome.map_share for outcome in outcomes.values())
    return Record(
        "evaluation",
        f"candidates a minute at equal work, ours over the port's, on {'bccd' if 'bccd' in outcomes else 'digits'}",
        lead.ratio,
        f"at least {EQUAL_WORK:g}, at equal fidelity at least {EQUAL_FIDELITY:g}; mAP and NMS at most {MAP_SHARE:.0%}",
        lead.ratio >= EQUAL_WORK and gain >= EQUAL_FIDELITY and worst_share <= MAP_SHARE,
        rows,
        environment(),
        f"REAL_DATA=../shared python run_search.py bench evaluation candidates={candidates} "
        f"calibration={calibration} ranked={ranked} fidelity={fidelity} --json",
    )


def compare(testbed: Testbed, /, *, n: int, n_images: int) -> Outcome:
    """Return how `n` candidates of each side fare that are recovered on `n_images`, the sides taking turns."""
    _check_same_metric(testbed)
    as_port = testbed.builders(n_images, (Recovery.NOTHING, Recovery.ADAPTIVE_BN))
    usual = testbed.builders(testbed.parts.making.calibration_images, (Recovery.RECONSTRUCT,))
    ways = {ADAPTIVE_BN: as_port[Recovery.ADAPTIVE_BN], RECONSTRUCTION: usual[Recovery.RECONSTRUCT]}
    ours, port = Stopwatch(), Stopwatch()
    sides = [
        lambda index: _evaluate(testbed, index, ways, ours),
        lambda _: _evaluate_port(testbed, n_images // CALIBRATION_BATCH, port),
    ]
    for index in range(n):
        for evaluate in sides if index % 2 == 0 else reversed(sides):
            evaluate(index)
        _split(testbed, index, as_port, ours)
    return _outcome(testbed, ours, port, n_images=n_images)


def peak_gflops() -> float:
    """Return how many GFLOP/s the best of 30 convolutions reaches that are large enough to be bound by arithmetic."""
    images = torch.randn(8, 128, 40, 40).to(memory_format=torch.channels_last)
    weight = torch.randn(128, 128, 3, 3).to(memory_format=torch.channels_last)
    times = []
    for _ in range(30):
        started = time.perf_counter()
        nn.functional.conv2d(images, weight, padding=1)
        times.append(time.perf_counter() - started)
    return 2 * 8 * 40 * 40 * 128 * 128 * 9 / min(times) / 1e9


def _check_same_metric(testbed: Testbed) -> None:
    """Make sure that both sides say the same of the parent, up to the port's NMS."""
    parent = testbed.problem.inputs.parent
    ours = coco_map(predict(parent, testbed.scored), testbed.scored).map50_95
    theirs = coco_map(detect(forward(parent, testbed.scored), testbed.scored), testbed.scored).map50_95
    if abs(ours - theirs) > PARENT_GAP:
        raise RuntimeError(f"the sides must agree on the parent, got mAP {ours:.4f} and {theirs:.4f}")


def _evaluate(testbed: Testbed, index: int, ways: Mapping[str, Build], watch: Stopwatch) -> None:
    """Evaluate candidate `index` as a worker does, with each recovery."""
    for way, build in ways.items():
        with watch.time(way):
            score(build(testbed.draw(index)), testbed.scored)


def _evaluate_port(testbed: Testbed, n_batches: int, watch: Stopwatch) -> None:
    with watch.time("propose"):
        proposal = testbed.port.propose()
    watch.seconds["proposals"].append(float(proposal.n_drawn))
    with watch.time("inherit"):
        model = testbed.port.inherit(proposal.keep)
    with watch.time("calibrate"):
        testbed.port.calibrate_(model, n_batches=n_batches)
    with watch.time("validate: forward"):
        outputs = forward(model, testbed.scored)
    with watch.time("validate: NMS"):
        found = detect(outputs, testbed.scored)
    with watch.time("validate: mAP"):
        coco_map(found, testbed.scored)


def _split(testbed: Testbed, index: int, builders: Mapping[Recovery, Build], watch: Stopwatch) -> None:
    """Take the time of each stage of candidate `index`."""
    candidate = testbed.draw(index)
    with watch.time("cut"):
        builders[Recovery.NOTHING](candidate)
    with watch.time("cut and calibrate"):
        model = builders[Recovery.ADAPTIVE_BN](candidate)
    _split_score(testbed, model, watch)
    with watch.time("score"):
        score(model, testbed.scored)


@torch.no_grad()
def _split_score(testbed: Testbed, model: DetectionModel, watch: Stopwatch) -> None:
    size = batch_of(testbed.scored)
    with watch.time("floats"):
        for _ in testbed.scored.batches(size):
            pass
    with watch.time("floats and forward"):
        folded = fold_bn(model)
        outputs = [folded(batch)[0] for batch in testbed.scored.batches(size)]
    with watch.time("NMS"):
        pairs = zip(outputs, testbed.scored.parts(size), strict=True)
        found = [boxes for output, part in pairs for boxes in detections(output, part)]
    with watch.time("mAP"):
        coco_map(found, testbed.scored)


def _outcome(testbed: Testbed, ours: Stopwatch, port: Stopwatch, *, n_images: int) -> Outcome:
    ours_s, port_s = ours.mean(ADAPTIVE_BN), port.mean(*OF_PORT)
    published_s = port_s + port.mean("propose") * (PUBLISHED_DRAWS / port.mean("proposals") - 1)
    referee_s = ours.mean("NMS", "mAP")
    rows = [
        _row(testbed, "ours", f"{ADAPTIVE_BN}: candidates a minute", 60 / ours_s),
        _row(testbed, "ours", f"{RECONSTRUCTION}: candidates a minute", 60 / ours.mean(RECONSTRUCTION)),
        _row(testbed, "port", "candidates a minute", 60 / port_s),
        _row(testbed, "both", "equal work: times as fast", port_s / ours_s),
        _row(testbed, "both", f"the same at {PUBLISHED_DRAWS:g} proposals a candidate", published_s / ours_s),
        _row(testbed, "both", f"{RECONSTRUCTION}: times as fast", port_s / ours.mean(RECONSTRUCTION)),
        _row(testbed, "port", "proposals a candidate", port.mean("proposals")),
        *(_row(testbed, "port", f"{stage}, ms", 1e3 * port.mean(stage)) for stage in OF_PORT),
        *(_row(testbed, "ours", f"{stage}, ms", 1e3 * seconds) for stage, seconds in _stages(ours).items()),
        *_speed(testbed, ours, port_s, n_images=n_images),
        _row(testbed, "ours", f"{ADAPTIVE_BN}: share of NMS and mAP", referee_s / ours_s),
        _row(testbed, "ours", f"{RECONSTRUCTION}: share of NMS and mAP", referee_s / ours.mean(RECONSTRUCTION)),
    ]
    return Outcome(port_s / ours_s, referee_s / ours_s, port.mean("propose"), rows)


def _stages(ours: Stopwatch) -> dict[str, float]:
    """Return the mean seconds of each stage of one of our candidates."""
    floats, forward_s = ours.mean("floats"), ours.mean("floats and forward") - ours.mean("floats")
    known = floats + forward_s + ours.mean("NMS", "mAP")
    return {
        "cut": ours.mean("cut"),
        "calibrate": ours.mean("cut and calibrate") - ours.mean("cut"),
        "reconstruct instead": ours.mean(RECONSTRUCTION) - ours.mean("score") - ours.mean("cut"),
        "pixels to floats": floats,
        "forward": forward_s,
        "NMS": ours.mean("NMS"),
        "mAP": ours.mean("mAP"),
        "loss and the rest": ours.mean("score") - known,
    }


def _speed(testbed: Testbed, ours: Stopwatch, port_s: float, *, n_images: int) -> list[Row]:
    """Return the speed of the forward passes beside that of the best convolution, and what more speed could give.

    The limit is that of equal work where nothing is left but convolutions at the peak.
    """
    gflops = 2 * SHARE * testbed.problem.parent_costs["macs_g"]  # of an image
    reached, peak = gflops * len(testbed.scored) / _stages(ours)["forward"], peak_gflops()
    return [
        _row(testbed, "ours", "forward, GFLOP/s", reached),
        _row(testbed, "both", "peak of a convolution, GFLOP/s", peak),
        _row(testbed, "ours", "forward, share of the peak", reached / peak),
        _row(
            testbed,
            "both",
            "limit of equal work: times as fast",
            port_s * peak / (gflops * (n_images + len(testbed.scored))),
        ),
    ]


def _fidelity(testbed: Testbed, n: int, propose_s: float) -> list[Row]:
    """Return the settings of both sides, and at last how many times as fast our cheapest is as the port's."""
    ours, port = settings_of_ours(testbed, n), settings_of_port(testbed, n, propose_s)
    rows = []
    for side, settings in (("ours", ours), ("port", port)):
        best = cheapest(settings)
        for setting in settings:
            mark = "cheapest" if setting is best else "full" if setting is settings[0] else "setting"
            what = f"{mark}, {setting.name}, Spearman {setting.spearman:.3f}: seconds"
            rows.append(_row(testbed, side, what, setting.seconds))
    gain = cheapest(port).seconds / cheapest(ours).seconds
    return [*rows, _row(testbed, "both", "equal fidelity: times as fast", gain)]


def _row(testbed: Testbed, side: str, what: str, value: float) -> Row:
    return {"data": testbed.name, "side": side, "what": what, "value": value}
