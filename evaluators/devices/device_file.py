"""Device files: how fast one machine runs the sub-networks of one parent, as JSON; hostile until proven otherwise."""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from evaluators.devices.predictor import N_SHARED, Geometry, Predictor
from evaluators.latency.machine import this_machine
from spaces.candidate import Candidate
from spaces.channels.graph import ChannelGraph
from spaces.errors import BadInput
from spaces.files import write_atomic
from spaces.space import Space

MAX_BYTES = 4_000_000
_N = 10_000  # of anything listed


def _printable(value: str) -> str:
    if not value.isprintable():  # it comes to a terminal
        raise ValueError("must be printable")
    return value


Rate = Annotated[float, Field(gt=-1e9, lt=1e9)]
Time = Annotated[float, Field(gt=0, lt=1e9)]
Block = Annotated[int, Field(ge=1, le=64)]
Text = Annotated[str, Field(min_length=1, max_length=300), AfterValidator(_printable)]


class Rates(BaseModel):
    """A predictor of one precision, as it is written."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    blocks: tuple[Block, Block] = Field(strict=False)
    rates: tuple[Rate, ...] = Field(max_length=_N, strict=False)
    parent_ms: Time

    def predictor(self) -> Predictor:
        """Return what predicts with these rates."""
        return Predictor(self.blocks, np.array(self.rates))


class DeviceFile(BaseModel):
    """What one profile of one parent on one machine has found.

    Attributes:
        machine: as `this_machine` says it.
        parent: fingerprint of the weights.
        blocks: names and sizes of the parent's blocks, in order.
        n_networks: how many sub-networks were timed in `minutes`.
        drift: by how much the sentinel's slowest time was above its fastest.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    format: Literal["yolo-budget-search/device/1"] = "yolo-budget-search/device/1"
    machine: Text
    threads: int = Field(ge=1, le=1024)
    cpus: tuple[int, ...] = Field(max_length=1024, strict=False)
    parent: Text
    imgsz: int = Field(ge=32, le=4096)
    blocks: tuple[tuple[Text, int], ...] = Field(max_length=_N, strict=False)
    n_networks: int = Field(ge=1, le=1_000_000)
    minutes: Time
    drift: float = Field(ge=0, allow_inf_nan=False)
    fp32: Rates
    int8: Rates

    @property
    def fingerprint(self) -> str:
        """Of the content, 16 hexadecimal digits."""
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest()[:16]

    def check_use(self, *, parent: str, imgsz: int, threads: int) -> None:
        """Make sure that the file is about this parent, timed as it will be.

        Raises:
            BadInput: it is of other weights, another image size or another number of threads.
        """
        for name, own, asked in (
            ("weights of fingerprint", self.parent, parent),
            ("imgsz", self.imgsz, imgsz),
            ("threads", self.threads, threads),
        ):
            if own != asked:
                raise BadInput(f"device_file: it was made for {name} {own}, not {asked}; make one with bench latency")

    def foreign(self) -> str | None:
        """Return the warning that names both machines, None on the machine that the file is of."""
        here = this_machine()
        return None if here == self.machine else f"device_file: it is of [{self.machine}], this machine is [{here}]"

    def latency(self, space: Space, graph: ChannelGraph, /) -> "PredictedLatency":
        """Return what predicts the candidates of `space`.

        Raises:
            BadInput: the blocks are not those of the profile, or the rates give the parent no time above 0.
        """
        return PredictedLatency(space, graph, self)


class PredictedLatency:
    """Latencies of candidates in microseconds, none of them built."""

    def __init__(self, space: Space, graph: ChannelGraph, device: DeviceFile) -> None:
        self._space, self._geometry = space, Geometry.of(graph)
        if device.blocks != tuple((block.name, block.size) for block in graph.blocks):
            raise BadInput("device_file: its blocks are not those of this detector; make one with bench latency")
        if any(len(each.rates) != N_SHARED + 2 * len(graph.layers) for each in (device.fp32, device.int8)):
            raise BadInput(f"device_file: each precision must have {N_SHARED} + 2 x {len(graph.layers)} rates")
        self._fp32, self._int8 = device.fp32.predictor(), device.int8.predictor()
        try:
            self([space.parent])
        except ValueError as error:
            raise BadInput(
                "device_file: its rates give the parent no time above 0; make one with bench latency"
            ) from error

    def __call__(self, candidates: Sequence[Candidate], /) -> list[dict[str, float]]:
        """Return "latency_ms" and "int8_latency_ms" of each candidate.

        Raises:
            ValueError: a time is not above 0: the candidate is too far from what was profiled.
        """
        keep = np.stack([self._space.decode(candidate) for candidate in candidates])
        times = np.stack([self._fp32(self._geometry, keep), self._int8(self._geometry, keep)], 1)  # (n, 2)
        if times.min() <= 0:
            raise ValueError(f"predicted latencies must be above 0, got {times.min():.3g} ms")
        return [{"latency_ms": float(fp32), "int8_latency_ms": float(int8)} for fp32, int8 in times]


def read_device_file(path: Path, /) -> DeviceFile:
    """Return the device file at `path`.

    Raises:
        BadInput: it is missing, too large, damaged, or of another format.
    """
    if not path.is_file():
        raise BadInput(f"device_file: {str(path)!r} not found; make one with bench latency")
    if path.stat().st_size > MAX_BYTES:
        raise BadInput(f"device_file: {str(path)!r} is larger than {MAX_BYTES} bytes")
    try:
        return DeviceFile.model_validate_json(path.read_bytes())
    except ValidationError as error:
        fault = error.errors()[0]
        where = ".".join(str(part) for part in fault["loc"])
        raise BadInput(f"device_file: {str(path)!r} is no device file: {where!r:.60} {fault['msg']:.100}") from error


def write_device_file(device: DeviceFile, path: Path, /) -> None:
    """Write `device` to `path` in one step."""
    write_atomic(path, device.model_dump_json() + "\n")
