"""Rows in journals of earlier versions, which had one fp32 and one INT8 file of ONNX Runtime as fields of their own."""

from collections.abc import Mapping

_RUNTIME = "onnxruntime"
_MOVED = (
    "size_mb", "latency_ms", "latency_p95_ms", "latency_low_ms", "latency_high_ms", "onnx_error", "int8_execution",
    "int8_judged", "int8_map50_95", "int8_latency_ms", "int8_latency_p95_ms", "int8_size_mb",
)  # fmt: skip
_RENAMED = {"judged": "detection"}
_KEPT = ("size_mb", "map50_95", "latency_ms", "latency_p95_ms", "latency_low_ms", "latency_high_ms")
_REQUIRED = frozenset(_MOVED) - {"latency_low_ms", "latency_high_ms", "int8_execution", "int8_judged"}


def with_files(record: Mapping[str, object], /) -> Mapping[str, object]:
    """Return `record` of a measured row as rows are written now; one that was not written by them as it is.

    A row of few bits was its INT8 file, timed twice; what limits were held against stays, and the interval with it.
    """
    if "files" in record or not set(record) >= _REQUIRED:
        return record
    execution, error = record.get("int8_execution"), record["onnx_error"]
    interval = {name: record.get(name) for name in ("latency_low_ms", "latency_high_ms")}
    int8 = {
        "runtime": _RUNTIME,
        "precision": "int8",
        "file": "model_int8.onnx",
        "size_mb": record["int8_size_mb"],
        "map50_95": record["int8_map50_95"],
        "latency_ms": record["int8_latency_ms"],
        "latency_p95_ms": record["int8_latency_p95_ms"],
        **(interval if execution else {}),
        "error": error if execution else None,
        "execution": execution,
        "detection": record.get("int8_judged"),
    }
    exact = {
        "runtime": _RUNTIME,
        "precision": "fp32",
        "file": "model.onnx",
        **{name: record[name] for name in _KEPT if name in record},
        "error": error,
    }
    rest = {_RENAMED.get(name, name): value for name, value in record.items() if name not in _MOVED}
    return {**rest, "files": [int8] if execution else [exact, int8]}
