"""Rows as version 3d65ca4 wrote them: one fp32 and one INT8 file of ONNX Runtime, each reading a field of its own."""

import csv
import json
from collections.abc import Mapping
from pathlib import Path

import pytest

from evaluators.runtimes.precision import Precision
from leaderboards.detection_metrics import DetectionMetrics
from leaderboards.entry import PARENT, DeployedFile, Entry, Quality
from leaderboards.leaderboard import Leaderboard
from leaderboards.reports.card import card
from leaderboards.reports.detection_table import detection_rows
from leaderboards.reports.table import tabulate
from spaces.errors import BadInput

Record = Mapping[str, object]
JUDGED = {"f1_threshold": 0.31, "f1": 0.81, "precision": 0.79, "recall": 0.83, "recall_at_parent_threshold": 0.83,
          "class_map50_95": {"cat": 0.5, "dog": 0.45}}  # fmt: skip
JUDGED_INT8 = {"f1_threshold": 0.28, "f1": 0.78, "precision": 0.77, "recall": 0.792, "recall_at_parent_threshold": 0.75,
               "class_map50_95": {"cat": 0.48, "dog": 0.43}}  # fmt: skip
FLOAT = {
    "map50_95": 0.474, "map50": 0.672, "gflops": 6.42, "params_m": 2.62, "size_mb": 10.4, "latency_ms": 34.125,
    "latency_p95_ms": 40.25, "int8_map50_95": 0.461, "int8_latency_ms": 21.5, "int8_latency_p95_ms": 25.75,
    "int8_size_mb": 2.9, "onnx_error": 3e-06, "bits_mean": 32.0, "latency_low_ms": 34.0, "latency_high_ms": 34.5,
    "preprocess_ms": 0.5, "postprocess_ms": 1.25, "sentinel_ms": 1.625, "judged": JUDGED, "int8_judged": JUDGED_INT8,
    "int8_execution": None, "worst_layers": None, "zeros": None, "sparse_size_mb": None, "bops_g": 3287.04,
}  # fmt: skip
BITS = {  # the one file was timed twice
    "map50_95": 0.452, "map50": 0.641, "gflops": 3.5, "params_m": 1.5, "size_mb": 1.125, "latency_ms": 12.5,
    "latency_p95_ms": 14.25, "int8_map50_95": 0.449, "int8_latency_ms": 12.375, "int8_latency_p95_ms": 14.125,
    "int8_size_mb": 1.125, "onnx_error": 4e-06, "bits_mean": 5.25, "latency_low_ms": 12.25, "latency_high_ms": 12.75,
    "preprocess_ms": 0.5625, "postprocess_ms": 1.5, "sentinel_ms": 1.6875, "judged": JUDGED_INT8,
    "int8_judged": {**JUDGED_INT8, "f1": 0.77}, "int8_execution": "60 of 76 layers run as 8-bit integers",
    "worst_layers": {"9.cv2": 8.25, "4.cv1": 11.5}, "zeros": None, "sparse_size_mb": None, "bops_g": 80.5,
}  # fmt: skip
SPARSE = {  # without what was not measured then
    "map50_95": 0.44, "map50": 0.63, "gflops": 3.0, "params_m": 1.25, "size_mb": 5.5, "latency_ms": 15.5,
    "latency_p95_ms": 18.5, "int8_map50_95": 0.42, "int8_latency_ms": 9.5, "int8_latency_p95_ms": 11.5,
    "int8_size_mb": 1.5, "onnx_error": 2e-06, "bits_mean": 32.0, "zeros": 0.25, "sparse_size_mb": 4.5,
}  # fmt: skip
QUALITIES: dict[str, Record] = {PARENT: FLOAT, "bits": BITS, "sparse": SPARSE}
LIMITS = {"latency_ms": 22.0}
REQUIRED = ("map50_95", "map50", "gflops", "params_m", "size_mb", "latency_ms", "latency_p95_ms", "int8_map50_95",
            "int8_latency_ms", "int8_latency_p95_ms", "int8_size_mb", "onnx_error", "bits_mean")  # fmt: skip


def record_of(name: str, quality: Record) -> dict[str, object]:
    """Return an entry of a journal."""
    return {
        "id": name, "candidate": {"base": "same", "picks": {} if name == PARENT else {"2": 16}}, "strategy": "random",
        "status": "DONE", "proxy": 0.3, "proxy_name": "map50_95", "imgsz": 320, "seed": 7, "epochs": 10,
        "seconds": 412.5, "quality": quality, "error": "",
    }  # fmt: skip


def loaded(name: str) -> Entry:
    """Return an entry as a journal gives it back."""
    return Entry.from_json(json.loads(json.dumps(record_of(name, QUALITIES[name]))))


def quality_of(name: str) -> Quality:
    quality = loaded(name).quality
    assert quality is not None
    return quality


def board() -> Leaderboard:
    return Leaderboard([loaded(name) for name in QUALITIES], LIMITS)


def test_a_float_row_has_both_files_with_the_same_numbers_and_stands_for_the_exact_one() -> None:
    assert quality_of(PARENT) == Quality(
        map50_95=0.474, map50=0.672, gflops=6.42, params_m=2.62, bits_mean=32.0,
        files=(
            DeployedFile(
                "onnxruntime", Precision.FP32, "model.onnx", size_mb=10.4, map50_95=0.474, latency_ms=34.125,
                latency_p95_ms=40.25, latency_low_ms=34.0, latency_high_ms=34.5, error=3e-06,
            ),
            DeployedFile(
                "onnxruntime", Precision.INT8, "model_int8.onnx", size_mb=2.9, map50_95=0.461, latency_ms=21.5,
                latency_p95_ms=25.75, detection=DetectionMetrics.from_json(JUDGED_INT8),
            ),
        ),
        preprocess_ms=0.5, postprocess_ms=1.25, sentinel_ms=1.625, bops_g=3287.04,
        detection=DetectionMetrics.from_json(JUDGED),
    )  # fmt: skip


def test_a_row_of_few_bits_stands_for_its_int8_file_and_is_measured_in_torch_beside_it() -> None:
    quality = quality_of("bits")
    assert quality.has_bits
    assert quality.files == (quality.own,)
    own = quality.own
    assert (own.runtime, own.precision, own.file) == ("onnxruntime", Precision.INT8, "model_int8.onnx")
    assert (quality.map50_95, own.map50_95) == (0.452, 0.449)
    assert (own.size_mb, own.latency_ms, own.latency_p95_ms) == (1.125, 12.375, 14.125)
    assert (own.error, own.execution) == (4e-06, BITS["int8_execution"])
    assert (quality.detection, own.detection) == (
        DetectionMetrics.from_json(BITS["judged"]),
        DetectionMetrics.from_json(BITS["int8_judged"]),
    )
    assert (quality.bits_mean, quality.bops_g, quality.worst_layers) == (5.25, 80.5, BITS["worst_layers"])
    assert quality.readings() == {
        "macs_g": 1.75, "gflops": 3.5, "params_m": 1.5, "size_mb": 1.125, "bops_g": 80.5, "latency_ms": 12.375,
    }  # fmt: skip


def test_what_the_row_of_few_bits_was_timed_to_be_is_whole() -> None:
    own = quality_of("bits").own
    assert (own.latency_low_ms, own.latency_high_ms) == (12.25, 12.75)


def test_what_was_not_measured_then_is_missing() -> None:
    quality = quality_of("sparse")
    assert (quality.detection, quality.own.detection, quality.own.latency_low_ms, quality.sentinel_ms) == (None,) * 4
    assert (quality.zeros, quality.sparse_size_mb, quality.bops_g) == (0.25, 4.5, None)
    assert quality.readings()["bops_g"] == 32 * 32 * 1.5


def test_files_are_picked_as_they_were() -> None:
    picked = {entry.id: choice for entry in board().entries if (choice := board().choice(entry))}
    assert {name: (choice.file.file, choice.map50_95) for name, choice in picked.items()} == {
        PARENT: ("model_int8.onnx", 0.461),  # 34.1 ms as fp32 is more than 22 ms
        "bits": ("model_int8.onnx", 0.449),
        "sparse": ("model.onnx", 0.44),
    }
    assert picked[PARENT].readings["bops_g"] == 64 * 3.21  # integers of 8 bits
    assert [entry.id for entry in board().rows] == ["bits", "sparse"]
    assert {row.id: row.meets for row in tabulate(board(), is_brief=True).rows} == {
        PARENT: "as INT8", "bits": "as INT8", "sparse": "yes",
    }  # fmt: skip


def judged_cells(prefix: str, judged: object) -> dict[str, object]:
    """Return the cells of what was judged of one file, beside the parent's threshold of 0.31."""
    if not isinstance(judged, dict):
        return {}
    return {
        f"{prefix}f1": judged["f1"], f"{prefix}f1_threshold": judged["f1_threshold"],
        f"{prefix}f1_threshold_shift": judged["f1_threshold"] - 0.31, f"{prefix}f1_precision": judged["precision"],
        f"{prefix}f1_recall": judged["recall"],
        f"{prefix}recall_at_parent_threshold": judged["recall_at_parent_threshold"],
        f"{prefix}class_map50_95": json.dumps(judged["class_map50_95"]),
    }  # fmt: skip


def cells(name: str) -> dict[str, object]:
    """Return what version 3d65ca4 wrote to leaderboard.csv of a row."""
    quality = QUALITIES[name]
    same = (*REQUIRED, "latency_low_ms", "latency_high_ms", "preprocess_ms", "postprocess_ms", "sentinel_ms", "zeros",
            "sparse_size_mb")  # fmt: skip
    score, gflops = quality["map50_95"], quality["gflops"]
    assert isinstance(score, float)
    assert isinstance(gflops, float)
    worst = quality.get("worst_layers")
    return {
        "id": name, "base": "same", "strategy": "random", "status": "DONE", "on_front": True, "proxy": 0.3,
        **{column: quality.get(column) for column in same}, "network_ms": quality["latency_ms"], "imgsz": 320,
        "seed": 7, "within_budget": True, "meets_as": "fp32" if name == "sparse" else "int8", "map_loss": 0.474 - score,
        "macs_kept": gflops / 6.42, "proxy_name": "map50_95", "epochs": 10, "seconds": 412.5, "error": "",
        **judged_cells("", quality.get("judged")), **judged_cells("int8_", quality.get("int8_judged")),
        "worst_layers": json.dumps(worst) if worst else None,
    }  # fmt: skip


TIMED_TWICE = {"latency_ms": 12.375, "latency_p95_ms": 14.125, "network_ms": 12.375}  # as limits read the file


@pytest.mark.parametrize("name", QUALITIES)
def test_the_csv_is_what_it_was_column_by_column(name: str, tmp_path: Path) -> None:
    board().write_csv(tmp_path / "leaderboard.csv")
    rows = csv.DictReader((tmp_path / "leaderboard.csv").read_text(encoding="utf-8").splitlines())
    found = next(row for row in rows if row["id"] == name)
    expected = cells(name) | (TIMED_TWICE if name == "bits" else {})
    written = {
        column: "" if value is None else f"{value:.6g}" if isinstance(value, float) else str(value)
        for column, value in expected.items()
    }
    assert found == {**dict.fromkeys(found, ""), **written}


def test_tables_and_cards_tell_the_simulation_from_the_file() -> None:
    assert [(row.id, row.file, row.cells[0]) for row in detection_rows(board())] == [
        (PARENT, "fp32", "0.810"), (PARENT, "INT8", "0.780"), ("bits", "simulated", "0.780"), ("bits", "INT8", "0.770"),
    ]  # fmt: skip
    text = card(board().rows[0], board())
    assert "0.4520" in text
    assert "0.4490" in text
    assert "60 of 76 layers run as 8-bit integers" in text
    assert "differ from torch by 4.0e-06" in text


def without(quality: Record, name: str) -> Record:
    return {key: value for key, value in quality.items() if key != name}


@pytest.mark.parametrize("name", REQUIRED)
@pytest.mark.parametrize("row", QUALITIES)
def test_a_row_without_what_was_always_measured_is_refused(row: str, name: str) -> None:
    with pytest.raises(BadInput):
        Entry.from_json(record_of(row, without(QUALITIES[row], name)))


@pytest.mark.parametrize(
    "change",
    [
        {"colour": "red"},
        {"judged": 0.5},
        {"int8_judged": {"f1": 0.5}},
        {"files": [{"runtime": "onnxruntime"}]},
        {"files": []},
    ],
)
@pytest.mark.parametrize("row", QUALITIES)
def test_a_damaged_row_is_refused(row: str, change: Record) -> None:
    with pytest.raises(BadInput):
        Entry.from_json(record_of(row, {**QUALITIES[row], **change}))
