"""A row of the leaderboard: one model that was fine-tuned, exported, and measured on the sealed split."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Self

from evaluators.result import Status
from leaderboards.judgement import Judgement
from spaces.bits.layer_bits import FLOAT_BITS
from spaces.candidate import Candidate
from spaces.errors import BadInput

PARENT = "parent"


@dataclass(frozen=True)
class Quality:
    """What was measured of one model.

    Attributes:
        map50_95: COCO mAP on the sealed val split, in [0, 1]; `int8_map50_95` is that of the INT8 ONNX file.
        gflops: 2 x MACs of convolutions and matmuls at `imgsz`, batch 1, in 1e9.
        params_m: parameters of the unfused network in millions.
        size_mb: the fp32 ONNX file in 1e6 bytes; `int8_size_mb` the INT8 file.
        latency_ms: median of the fp32 ONNX file in ONNX Runtime, batch 1; `latency_p95_ms` its 95th percentile.
        onnx_error: largest difference between ONNX fp32 and torch outputs, relative to the largest output.
        bits_mean: mean weight bits of the row's own network.
        latency_low_ms: lower end of the 95 % interval of `latency_ms`; `latency_high_ms` the upper.
        preprocess_ms: from a decoded image to the network's input; `postprocess_ms` from its outputs to boxes.
        sentinel_ms: what a network that never changes took just before this row was timed.
        judged: what mAP does not tell of the row's own network; `int8_judged` of the INT8 ONNX file.
        int8_execution: how the INT8 file of a network of few bits is stored and computed, in words.
        worst_layers: signal-to-quantization-noise ratio in dB of the layers whose bits cost the most, the worst first.
        zeros: the fraction of zeros among a masked network's weights.
        sparse_size_mb: of its fp32 ONNX file if these zeros were not stored; no runtime here reads such a file.
        bops_g: MACs times the bits of both factors, of the row's own network, in 1e9; in float32 1024 a MAC.

    A row of few bits stands for its INT8 file: `map50_95` is that of its simulation, size and latencies are the file's.
    What may be None is missing in rows of earlier versions; `worst_layers` and `int8_execution` in rows of float
    networks, too.
    """

    map50_95: float
    map50: float
    gflops: float
    params_m: float
    size_mb: float
    latency_ms: float
    latency_p95_ms: float
    int8_map50_95: float
    int8_latency_ms: float
    int8_latency_p95_ms: float
    int8_size_mb: float
    onnx_error: float
    bits_mean: float
    latency_low_ms: float | None = None
    latency_high_ms: float | None = None
    preprocess_ms: float | None = None
    postprocess_ms: float | None = None
    sentinel_ms: float | None = None
    judged: Judgement | None = None
    int8_judged: Judgement | None = None
    int8_execution: str | None = None
    worst_layers: Mapping[str, float] | None = None
    zeros: float | None = None
    sparse_size_mb: float | None = None
    bops_g: float | None = None

    @property
    def network_ms(self) -> float:
        """The stage between the other two."""
        return self.latency_ms

    def readings(self) -> dict[str, float]:
        """Return the values by the names that budgets use."""
        measured = {name: value for name, value in asdict(self).items() if isinstance(value, int | float)}
        return {"bops_g": FLOAT_BITS**2 * self.gflops / 2, **measured, "macs_g": self.gflops / 2}

    @classmethod
    def from_json(cls, record: Mapping[str, object]) -> Self:
        """Return the quality whose fields are in `record`.

        Raises:
            BadInput: a part of it has another shape.
        """
        judged = {
            name: Judgement.from_json(record[name])
            for name in ("judged", "int8_judged")
            if record.get(name) is not None
        }
        return cls(**{**record, **judged})  # type: ignore[arg-type]


@dataclass(frozen=True)
class Entry:
    """One row: the unpruned parent (id "parent") or one fine-tuned candidate.

    Attributes:
        proxy: the score the search ranked it by, in the unit of `proxy_name`; None for the parent if not scored.
        quality: None when the status is FAILED; `error` then says why.
        seconds: the time spent on fine-tuning, export and measurement.
    """

    id: str
    candidate: Candidate
    strategy: str
    status: Status
    proxy: float | None
    proxy_name: str
    imgsz: int
    seed: int
    epochs: int
    seconds: float
    quality: Quality | None
    error: str = ""

    def to_json(self) -> dict[str, object]:
        """Return the JSON form that the journal keeps."""
        return {**asdict(self), "candidate": self.candidate.to_json(), "status": self.status.value}

    @classmethod
    def from_json(cls, record: Mapping[str, object]) -> Self:
        """Return the entry that `to_json` described.

        Raises:
            BadInput: the record has another shape.
        """
        candidate, quality, status = record.get("candidate"), record.get("quality"), record.get("status")
        is_whole = _has_fields(record, cls) and (quality is None or _has_fields(quality, Quality))
        if not is_whole or not isinstance(candidate, dict) or status not in list(Status):
            raise BadInput(f"not a leaderboard entry: {record!r:.80}")
        rest = {name: value for name, value in record.items() if name not in ("candidate", "quality", "status")}
        return cls(
            candidate=Candidate.from_json(candidate),
            status=Status(str(status)),
            quality=Quality.from_json(quality) if isinstance(quality, dict) else None,
            **rest,  # type: ignore[arg-type]
        )


def _has_fields(record: object, kind: type[Quality] | type[Entry]) -> bool:
    """Return whether `record` has every field of `kind`, save those that may be None, and no other."""
    names = {field.name for field in fields(kind)}
    required = {field.name for field in fields(kind) if field.default is not None}
    return isinstance(record, Mapping) and required <= set(record) <= names
