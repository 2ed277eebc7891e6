"""A row of the leaderboard: one model that was fine-tuned, exported, and measured on the sealed split."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Self

from evaluators.result import Status
from evaluators.runtimes.by_name import DEFAULT
from evaluators.runtimes.precision import Precision
from leaderboards.detection_metrics import DetectionMetrics
from leaderboards.earlier_rows import with_files
from spaces.bits.layer_bits import FLOAT_BITS
from spaces.candidate import Candidate
from spaces.errors import BadInput

PARENT = "parent"
REFERENCE = "reference"  # the strategy of a row that no search has found
INT8_BITS = 8


@dataclass(frozen=True)
class DeployedFile:
    """One file of a row, as one runtime computes it in one precision.

    Attributes:
        file: its name in the row's folder.
        size_mb: in 1e6 bytes.
        map50_95: COCO mAP on the sealed val split, in [0, 1]; that of the row's own network where the file computes
            the same to float precision, of a network of few bits its own.
        latency_ms: median, batch 1, one thread; `latency_p95_ms` its 95th percentile.
        latency_low_ms: lower end of the 95 % interval of `latency_ms`; `latency_high_ms` the upper.
        error: largest difference between its exact form's outputs and torch's, relative to the largest output.
        execution: how the bits of a network of few bits are stored and computed, in words.
        kind: for which processors an INT8 file is made, "portable" or "vnni".
        detection: what mAP does not tell; None where the file computes what the row's own network does.

    What may be None is missing in rows of earlier versions too.
    """

    runtime: str
    precision: Precision
    file: str
    size_mb: float
    map50_95: float
    latency_ms: float
    latency_p95_ms: float
    latency_low_ms: float | None = None
    latency_high_ms: float | None = None
    error: float | None = None
    execution: str | None = None
    kind: str | None = None
    detection: DetectionMetrics | None = None

    @classmethod
    def from_json(cls, record: Mapping[str, object]) -> Self:
        """Return the file whose fields are in `record`.

        Raises:
            BadInput: the record has another shape.
        """
        if not _has_fields(record, cls) or record["precision"] not in list(Precision):
            raise BadInput(f"not a deployed file: {record!r:.80}")
        detection = record.get("detection")
        known = {
            **record,
            "precision": Precision(str(record["precision"])),
            "detection": None if detection is None else DetectionMetrics.from_json(detection),
        }
        return cls(**known)  # type: ignore[arg-type]


@dataclass(frozen=True)
class Quality:
    """What was measured of one model.

    Attributes:
        map50_95: COCO mAP of the row's own network on the sealed val split, in [0, 1]; of few bits its simulation's.
        gflops: 2 x MACs of convolutions and matmuls at `imgsz`, batch 1, in 1e9.
        params_m: parameters of the unfused network in millions.
        bits_mean: mean weight bits of the row's own network.
        files: what was deployed, the one that the row stands for first: the exact one, or of few bits the INT8 one.
        preprocess_ms: from a decoded image to the network's input; `postprocess_ms` from its outputs to boxes.
        sentinel_ms: what a network that never changes took just before this row was timed.
        detection: what mAP does not tell of the row's own network.
        worst_layers: signal-to-quantization-noise ratio in dB of the layers whose bits cost the most, the worst first.
        zeros: the fraction of zeros among a masked network's weights.
        tuned_share: how far the row's weights lie on the way from the untrained to the fine-tuned ones, 1.0 for all of
            it, as did best on the hold-out; `qat_share` the same of the training on bits.
        sparse_size_mb: of its exact file if these zeros were not stored; no runtime here reads such a file.
        bops_g: MACs times the bits of both factors, of the row's own network, in 1e9; in float32 1024 a MAC.

    What may be None is missing in rows of earlier versions; `worst_layers` in rows of float networks, too.
    """

    map50_95: float
    map50: float
    gflops: float
    params_m: float
    bits_mean: float
    files: tuple[DeployedFile, ...]
    preprocess_ms: float | None = None
    postprocess_ms: float | None = None
    sentinel_ms: float | None = None
    detection: DetectionMetrics | None = None
    worst_layers: Mapping[str, float] | None = None
    zeros: float | None = None
    sparse_size_mb: float | None = None
    bops_g: float | None = None
    tuned_share: float | None = None
    qat_share: float | None = None

    @property
    def own(self) -> DeployedFile:
        """The file that the row stands for."""
        return self.files[0]

    @property
    def has_bits(self) -> bool:
        """Whether the row is a network of few bits."""
        return self.own.precision is Precision.INT8

    def file(self, precision: Precision, runtime: str = DEFAULT, /) -> DeployedFile | None:
        """Return the file of that runtime in that precision, if there is one."""
        found = (file for file in self.files if (file.runtime, file.precision) == (runtime, precision))
        return next(found, None)

    def readings(self, file: DeployedFile | None = None, /) -> dict[str, float]:
        """Return the costs of `file`, by default of the one that the row stands for, by the names that budgets use.

        A file of integers has no layer of more than 8 bits; MACs and parameters are the same for all.
        """
        file = self.own if file is None else file
        bops = FLOAT_BITS**2 * self.gflops / 2 if self.bops_g is None else self.bops_g
        if file.precision is Precision.INT8:
            bops = min(bops, INT8_BITS**2 * self.gflops / 2)
        return {
            "macs_g": self.gflops / 2,
            "gflops": self.gflops,
            "params_m": self.params_m,
            "size_mb": file.size_mb,
            "bops_g": bops,
            "latency_ms": file.latency_ms,
        }

    @classmethod
    def from_json(cls, record: Mapping[str, object]) -> Self:
        """Return the quality whose fields are in `record`, of earlier versions too.

        Raises:
            BadInput: the record has another shape.
        """
        record = with_files(record)
        files, detection = record.get("files"), record.get("detection")
        if not _has_fields(record, cls) or not isinstance(files, list | tuple) or not files:
            raise BadInput(f"not what a row was measured to be: {record!r:.80}")
        known = {
            **record,
            "files": tuple(DeployedFile.from_json(file) for file in files),
            "detection": None if detection is None else DetectionMetrics.from_json(detection),
        }
        return cls(**known)  # type: ignore[arg-type]


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
        is_whole = _has_fields(record, cls) and (quality is None or isinstance(quality, Mapping))
        if not is_whole or not isinstance(candidate, dict) or status not in list(Status):
            raise BadInput(f"not a leaderboard entry: {record!r:.80}")
        rest = {name: value for name, value in record.items() if name not in ("candidate", "quality", "status")}
        return cls(
            candidate=Candidate.from_json(candidate),
            status=Status(str(status)),
            quality=Quality.from_json(quality) if isinstance(quality, Mapping) else None,
            **rest,  # type: ignore[arg-type]
        )


def _has_fields(record: object, kind: type[DeployedFile] | type[Quality] | type[Entry]) -> bool:
    """Return whether `record` has every field of `kind`, save those that may be None, and no other."""
    names = {field.name for field in fields(kind)}
    required = {field.name for field in fields(kind) if field.default is not None}
    return isinstance(record, Mapping) and required <= set(record) <= names
