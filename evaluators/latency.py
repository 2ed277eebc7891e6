"""Latency is measured, never derived: one ONNX network, ONNX Runtime's CPU kernels, batch 1.

The median is repeated until its own uncertainty is small, so a quiet machine is done soon and a noisy one shows
in the interval, in `p95_ms` and in the number of runs.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray
from onnxruntime.capi.onnxruntime_pybind11_state import Fail, InvalidGraph, InvalidProtobuf, NoSuchFile

from evaluators.timing import Latency, alone_and_pinned, time_calls
from spaces.errors import BadInput

RUNTIME = f"onnxruntime {ort.__version__}"


def open_session(model: Path | bytes, *, threads: int) -> ort.InferenceSession:
    """Return a CPU session of an ONNX file or its content, operators one after the other on `threads` threads.

    Raises:
        BadInput: the file is missing or not a model that ONNX Runtime can run.
    """
    if threads < 1:
        raise ValueError(f"threads must be at least 1, got {threads}")
    options = ort.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
    options.log_severity_level = 3  # errors only
    source = model if isinstance(model, bytes) else str(model)
    try:
        return ort.InferenceSession(source, options, providers=["CPUExecutionProvider"])
    except (Fail, InvalidGraph, InvalidProtobuf, NoSuchFile) as error:
        raise BadInput(f"{_name(model)} must be an ONNX file: {error}") from error


def measure_latency(model: Path | bytes, *, threads: int, max_seconds: float = 2.0) -> Latency:
    """Return how long one image takes in an ONNX file or its content, which has one input of static shape.

    Runs are timed until the 95 % interval of their median is within 3 % of it or `max_seconds` have passed, and
    at least 30 times; no other process of ours times anything on this machine meanwhile.

    Raises:
        BadInput: the file is missing, is not a model, or has an input of unknown size.
    """
    with alone_and_pinned(threads) as cpus:  # the session's own threads start in it
        return time_calls(open_call(model, threads=threads), threads=threads, cpus=cpus, max_seconds=max_seconds)


def open_call(model: Path | bytes, *, threads: int) -> Callable[[], object]:
    """Return what runs the network on one image of noise; raises what `measure_latency` raises."""
    session = open_session(model, threads=threads)
    feed = {session.get_inputs()[0].name: _noise(session, model)}
    return lambda: session.run(None, feed)


def _noise(session: ort.InferenceSession, model: Path | bytes) -> NDArray[np.float32]:
    """Return a float32 image of the shape that the model takes, values in [0, 1]."""
    shape = session.get_inputs()[0].shape
    if not all(isinstance(size, int) for size in shape):
        raise BadInput(f"{_name(model)} must have an input of static shape, got {shape}")
    return np.asarray(np.random.default_rng(0).random(shape), np.float32)


def _name(model: Path | bytes) -> str:
    return f"a model of {len(model)} bytes" if isinstance(model, bytes) else str(model)
