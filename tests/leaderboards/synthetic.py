"""A run that never happened: 120 results, a parent and 6 entries over 60 blocks, failures and hostile names."""

import math
from dataclasses import replace

import numpy as np

from evaluators.result import Result, Status
from evaluators.runtimes.by_name import DEFAULT
from evaluators.runtimes.precision import Precision
from leaderboards.entry import PARENT, REFERENCE, DeployedFile, Entry, Quality
from leaderboards.leaderboard import Leaderboard
from leaderboards.reports.report import Background, render_report
from spaces.candidate import Candidate

HOSTILE = "<script>alert('x')</script><img src=x onerror=alert(1)>"
LIMITS = {"macs_g": 2.1, "latency_ms": 24.0}
BLOCKS = tuple((f"{index // 4}.cv{index % 4 + 1}", 16 * 2 ** min(index // 12, 4)) for index in range(60))
PARENT_MACS = 3.21


def make_candidate(rng: np.random.Generator, *, share: float) -> Candidate:
    """Return a candidate that keeps about `share` of each block."""
    kept = [(name, max(8, round(size * min(1.0, rng.normal(share, 0.2)) / 8) * 8)) for name, size in BLOCKS]
    sizes = dict(BLOCKS)
    return Candidate("same", tuple(sorted((name, keep) for name, keep in kept if keep < sizes[name])))


def make_quality(*, share: float, noise: float = 0.0) -> Quality:
    """Return what a network with `share` of the parent's MACs might measure."""
    score = 0.474 - 0.11 * (1 - share) ** 1.6 + noise
    latency = 8.0 + 26.0 * share + 40 * noise
    exact = DeployedFile(
        DEFAULT, Precision.FP32, "model.onnx", size_mb=10.4 * share**1.1, map50_95=score, latency_ms=latency,
        latency_p95_ms=latency * 1.18, error=3e-6,
    )  # fmt: skip
    int8 = DeployedFile(
        DEFAULT, Precision.INT8, "model_int8.onnx", size_mb=2.9 * share**1.1, map50_95=score - 0.013,
        latency_ms=latency * 0.62, latency_p95_ms=latency * 0.75,
    )  # fmt: skip
    return Quality(
        map50_95=score, map50=score * 1.42, gflops=2 * PARENT_MACS * share, params_m=2.62 * share**1.1,
        bits_mean=32.0, files=(exact, int8),
    )  # fmt: skip


def file_of(quality: Quality, precision: Precision) -> DeployedFile:
    """Return the default runtime's file of `quality` in that precision."""
    file = quality.file(precision)
    assert file is not None
    return file


def with_file(quality: Quality, file: DeployedFile) -> Quality:
    """Return `quality` with `file` in the place of its file of the same runtime and precision, or behind the others."""
    files = {(each.runtime, each.precision): each for each in (*quality.files, file)}
    return replace(quality, files=tuple(files.values()))


def with_bits(quality: Quality, execution: str) -> Quality:
    """Return `quality` as that of a network of few bits, which stands for its INT8 file."""
    return replace(quality, files=(replace(file_of(quality, Precision.INT8), execution=execution),))


def make_entry(name: str, quality: Quality | None, *, candidate: Candidate, proxy: float | None) -> Entry:
    """Return an entry; it failed if there is no `quality`."""
    status, error = (Status.DONE, "") if quality else (Status.FAILED, f"RuntimeError: export broke\n{HOSTILE}")
    return Entry(
        id=name, candidate=candidate, strategy="evolution", status=status, proxy=proxy, proxy_name="map50_95",
        imgsz=320, seed=0, epochs=10, seconds=412.0, quality=quality, error=error,
    )  # fmt: skip


def make_results(rng: np.random.Generator, *, n: int = 120) -> list[Result]:
    """Return the results of a search that gets better: three failed, one in twenty was over the budget."""
    results = []
    for number in range(n):
        share = float(rng.uniform(0.3, 0.66))
        candidate = make_candidate(rng, share=math.sqrt(share))
        cheap = {"macs_g": PARENT_MACS * share, "params_m": 2.62 * share, "size_mb": 10.4 * share}
        score = 0.40 * share**0.55 + 0.03 * math.log1p(number) / 5 + float(rng.normal(0, 0.02))
        status, readings, error = Status.DONE, {**cheap, "map50_95": max(score, 0.0)}, ""
        if number % 20 == 7:
            status, readings, error = Status.OVER_BUDGET, {**cheap, "macs_g": 2.2 + share}, "macs_g"
        if number in (11, 47, 90):
            status, readings, error = Status.FAILED, {}, f"RuntimeError: mat1 and mat2 differ in {HOSTILE}"
        results.append(Result(number, candidate, status, readings, 1.7, error))
    return results


def make_board() -> Leaderboard:
    """Return the parent, five measured entries and one that failed and has a hostile name."""
    rng = np.random.default_rng(3)
    entries = [make_entry(PARENT, make_quality(share=1.0), candidate=Candidate("same", ()), proxy=0.471)]
    for share, noise in ((0.66, 0.001), (0.62, 0.006), (0.52, -0.004), (0.44, 0.003), (0.33, 0.0)):
        candidate = make_candidate(rng, share=math.sqrt(share))
        proxy = 0.42 * share**0.55 + float(rng.normal(0, 0.01))
        quality = make_quality(share=share, noise=noise)
        entries.append(make_entry(candidate.id, quality, candidate=candidate, proxy=proxy))
    broken = Candidate("same", ((BLOCKS[0][0], 8),))
    entries.append(make_entry(HOSTILE, None, candidate=broken, proxy=0.2))
    return Leaderboard(entries, LIMITS)


def with_reference(board: Leaderboard, *, share: float, noise: float) -> Leaderboard:
    """Return `board` with the whole network at 192 px as a row."""
    reference = make_entry(
        "parent@192", make_quality(share=share, noise=noise), candidate=Candidate("same@192", ()), proxy=None
    )
    return Leaderboard([*board.entries, replace(reference, strategy=REFERENCE, imgsz=192)], board.limits)


def make_report() -> str:
    """Return the report of the synthetic run."""
    recipe = {
        "weights": "yolo11n.pt", "data": "bccd.yaml", "imgsz": 320, "limits": LIMITS, "strategy": "evolution",
        "candidates": 120, "front": 6, "finetune": {"epochs": 10, "lr": 1e-3, "batch": 16, "distill": 1.0},
        "calibration_images": 64, "search_images": 128, "keep_min": 0.2, "align": 8, "seed": 0, "workers": 2,
    }  # fmt: skip
    environment = {
        "python": "3.11.9", "torch": "2.15.0", "ultralytics": "8.4.190", "onnxruntime": "1.31.0", "ray": "2.60.0",
        "cpu": "2 cores", "threads of a latency run": "1", "system": f"Linux {HOSTILE}",
    }  # fmt: skip
    notes = (
        "The parent is yolo11n.pt, 2.62 M parameters, fine-tuned by its owner.",
        "The space has 60 blocks; 2 more failed their probe and stay whole.",
        "Reachable: 0.61 to 3.21 GMACs, 0.31 to 2.62 M parameters.",
        "64 training images calibrate, 128 others of train rank; the validation split was read once, for this page.",
    )
    return render_report(
        make_board(),
        make_results(np.random.default_rng(0)),
        Background(BLOCKS, {}, recipe, environment, notes),
    )
