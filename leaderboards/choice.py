"""Which file of an entry meets the limits: the fp32 ONNX file where it does, else the INT8 one."""

from collections.abc import Mapping
from enum import StrEnum
from typing import NamedTuple

from evaluators.budget import Budget
from leaderboards.entry import Entry, Quality


class Precision(StrEnum):
    """What the weights and activations of a file are computed in."""

    FP32 = "fp32"
    INT8 = "int8"


INT8_BITS = 8
FILES = {Precision.FP32: "model.onnx", Precision.INT8: "model_int8.onnx"}


class Choice(NamedTuple):
    """One file of one measured entry.

    Attributes:
        map50_95: that of this file on the sealed val split, in [0, 1].
        readings: what this file costs, by the names that limits use.
        file: its name in the entry's folder.
    """

    entry: Entry
    precision: Precision
    map50_95: float
    readings: Mapping[str, float]
    file: str


def choices(entry: Entry) -> tuple[Choice, ...]:
    """Return the files of `entry`, fp32 first; none if it failed, and no fp32 of one with bits: it would not be it."""
    quality = entry.quality
    if quality is None:
        return ()
    int8 = ((Precision.INT8, quality.int8_map50_95),)
    files = int8 if quality.int8_execution else ((Precision.FP32, quality.map50_95), *int8)
    return tuple(
        Choice(entry, precision, score, readings_as(quality, precision), FILES[precision]) for precision, score in files
    )


def choose(entry: Entry, limits: Mapping[str, float]) -> Choice | None:
    """Return the first file of `entry` that meets all of `limits`, fp32 before INT8; None if neither does."""
    budget = Budget(limits)
    return next((choice for choice in choices(entry) if not budget.violations(choice.readings)), None)


def readings_as(quality: Quality, precision: Precision) -> dict[str, float]:
    """Return the costs of one file by the names that limits use.

    The INT8 file has its own size and latency, and no layer of more than 8 bits; MACs and parameters are the same.
    """
    bops = quality.readings()["bops_g"]
    costs = {
        "macs_g": quality.gflops / 2,
        "gflops": quality.gflops,
        "params_m": quality.params_m,
        "size_mb": quality.size_mb,
        "bops_g": bops,
        "latency_ms": quality.latency_ms,
    }
    if precision is Precision.INT8:
        costs |= {"size_mb": quality.int8_size_mb, "latency_ms": quality.int8_latency_ms}
        costs["bops_g"] = min(bops, INT8_BITS**2 * quality.gflops / 2)
    return costs
