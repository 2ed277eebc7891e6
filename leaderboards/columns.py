"""A measured row as flat numbers by the names of leaderboard.csv: the default runtime's first, then those of others."""

import json
from collections.abc import Iterable, Mapping

from evaluators.runtimes.by_name import DEFAULT, RUNTIMES
from evaluators.runtimes.precision import Precision
from leaderboards.entry import DeployedFile, Quality

DETECTION = tuple(
    f"{file}{name}"
    for file in ("", "int8_")
    for name in (
        "f1", "f1_threshold", "f1_threshold_shift", "f1_precision", "f1_recall", "recall_at_parent_threshold",
        "class_map50_95",
    )
)  # fmt: skip
COLUMNS = (
    "id", "base", "strategy", "status", "on_front", "map50_95", "map50", "proxy", "gflops", "params_m", "size_mb",
    "latency_ms", "latency_p95_ms", "int8_map50_95", "int8_latency_ms", "int8_size_mb", "bits_mean", "imgsz", "seed",
    "within_budget", "meets_as", "map_loss", "macs_kept", "onnx_error", "int8_latency_p95_ms", "proxy_name", "epochs",
    "seconds", "error", "latency_low_ms", "latency_high_ms", "preprocess_ms", "network_ms", "postprocess_ms",
    "sentinel_ms", *DETECTION, "worst_layers", "zeros", "sparse_size_mb",
    "tuned_share", "qat_share", "beaten_by",
)  # fmt: skip
_OF_ROW = ("map50_95", "map50", "gflops", "params_m", "bits_mean", "preprocess_ms", "postprocess_ms", "sentinel_ms",
           "zeros", "sparse_size_mb", "tuned_share", "qat_share")  # fmt: skip
_OF_OWN = ("size_mb", "latency_ms", "latency_p95_ms", "latency_low_ms", "latency_high_ms")
_OF_FILE = ("map50_95", "latency_ms", "latency_p95_ms", "size_mb")


def numbers(quality: Quality, /) -> dict[str, float]:
    """Return what was measured of a row by the names of columns; what was not is missing."""
    own, int8 = quality.own, quality.file(Precision.INT8)
    found = {name: getattr(quality, name) for name in _OF_ROW}
    found |= {name: getattr(own, name) for name in _OF_OWN} | {"network_ms": own.latency_ms, "onnx_error": own.error}
    found |= {f"int8_{name}": getattr(int8, name) for name in _OF_FILE} if int8 else {}
    for file in others(quality.files):
        found |= {f"{prefix_of(file)}{name}": getattr(file, name) for name in _OF_FILE}
    return {name: value for name, value in found.items() if value is not None}


def detection(quality: Quality, parent: Quality | None, /) -> dict[str, object]:
    """Return what was measured beyond mAP by the names of `DETECTION`, classes and layers as JSON."""
    record: dict[str, object] = {}
    int8 = quality.file(Precision.INT8)
    for prefix, found in (("", quality.detection), ("int8_", int8.detection if int8 else None)):
        if found is not None:
            record |= {f"{prefix}{name}": getattr(found, name) for name in ("f1", "f1_threshold")}
            record |= {f"{prefix}f1_precision": found.precision, f"{prefix}f1_recall": found.recall}
            record[f"{prefix}recall_at_parent_threshold"] = found.recall_at_parent_threshold
            record[f"{prefix}class_map50_95"] = _json(found.class_map50_95)
        if found is not None and parent is not None and parent.detection is not None:
            record[f"{prefix}f1_threshold_shift"] = found.f1_threshold - parent.detection.f1_threshold
    return record | ({"worst_layers": _json(quality.worst_layers)} if quality.worst_layers else {})


def others(files: Iterable[DeployedFile], /) -> list[DeployedFile]:
    """Return the files of any runtime but the default one."""
    return [file for file in files if file.runtime != DEFAULT]


def prefix_of(file: DeployedFile, /) -> str:
    """Return what the columns of a file of another runtime begin with."""
    return f"{file.runtime}_{file.precision}_"


def called(file: DeployedFile, /) -> str:
    """Return what a file is called in tables of numbers: "int8", or "openvino int8" of another runtime."""
    return file.precision.value if file.runtime == DEFAULT else f"{file.runtime} {file.precision}"


def title_of(file: DeployedFile, /) -> str:
    """Return what a file is called in print: its precision, after its runtime if that is not the default one."""
    precision = "INT8" if file.precision is Precision.INT8 else file.precision.value
    if file.runtime == DEFAULT:
        return precision
    return f"{RUNTIMES[file.runtime].title if file.runtime in RUNTIMES else file.runtime} {precision}"


def all_columns(qualities: Iterable[Quality], /) -> list[str]:
    """Return the columns of a table of `qualities`: the fixed ones, then those of other runtimes."""
    more = [f"{prefix_of(file)}{name}" for each in qualities for file in others(each.files) for name in _OF_FILE]
    return [*COLUMNS, *dict.fromkeys(more)]


def _json(values: Mapping[str, float]) -> str:
    return json.dumps({name: float(f"{value:.6g}") for name, value in values.items()})
