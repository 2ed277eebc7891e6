"""Is cutting exact? Every block of every family by half, against the parent with the cut channels masked."""

import time

import numpy as np

from leaderboards.benchmarks.networks import untrained
from leaderboards.benchmarks.record import Cell, Record
from leaderboards.publish import environment
from spaces.channels import trace_channels
from spaces.probe import TOLERANCE, cut_error, probe

NETWORKS = ("yolov5n", "yolov5s", "yolov8n", "yolov8s", "yolo11n", "yolo11s")


def cutting() -> Record:
    """Return the largest error over all blocks of all networks, relative to the largest output."""
    rows: list[dict[str, Cell]] = []
    for name in NETWORKS:
        model = untrained(name)
        started = time.perf_counter()
        graph = probe(model, trace_channels(model, imgsz=640), rng=np.random.default_rng(0))
        seconds = time.perf_counter() - started
        sizes = np.array([block.size for block in graph.blocks])
        errors = []
        for index in range(len(sizes)):
            keep = sizes.copy()
            keep[index] = max(1, keep[index] // 2)
            errors.append(cut_error(model, graph, keep))
        together = cut_error(model, graph, np.maximum(1, sizes // 2))
        rows.append(
            {
                "network": name,
                "blocks": len(sizes),
                "analysis_s": seconds,
                "worst_error": max(errors),
                "all_by_half_error": together,
                "kept_whole": ", ".join(f"{layer} ({why})" for layer, why in graph.kept_whole.items()),
            }
        )
    worst = max(float(row["worst_error"]) for row in rows)
    return Record(
        "cutting",
        "largest difference of an output to the masked parent, relative to the largest output",
        worst,
        f"at most {TOLERANCE:g}",
        worst <= TOLERANCE,
        rows,
        environment(),
        "python run_search.py bench cutting --json",
    )
