"""ONNX Runtime: its files opened, called and timed; what writes them lies beside."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import onnxruntime as ort
import torch
from numpy.typing import NDArray
from onnxruntime.capi.onnxruntime_pybind11_state import Fail, InvalidArgument, InvalidGraph, InvalidProtobuf, NoSuchFile
from torch import Tensor
from ultralytics.nn.tasks import DetectionModel

from evaluators.runtimes.onnx_bits import export_quantized
from evaluators.runtimes.onnx_export import export_int8, export_onnx
from evaluators.runtimes.precision import Int8, Precision
from evaluators.runtimes.runtime import Exported, Images
from spaces.bits.quantized import plain, quantized_layers
from spaces.errors import BadInput

RUNTIME = f"onnxruntime {ort.__version__}"
FLOAT_FILE, INT8_FILE = "model.onnx", "model_int8.onnx"


class OnnxRuntime:
    """ONNX Runtime on the CPU, operators one after the other."""

    name = "onnxruntime"
    version = RUNTIME
    precisions = (Precision.FP32, Precision.INT8)

    def export(
        self, model: DetectionModel, folder: Path, /, *, imgsz: int, calibration: Sequence[Images], int8: Int8
    ) -> tuple[Exported, ...]:
        """Return the float file and the INT8 one, which has the network's own integers if its layers have few bits."""
        onnx_path = export_onnx(plain(model), folder / FLOAT_FILE, imgsz=imgsz)
        execution = None
        if quantized_layers(model):
            exported = export_quantized(model, onnx_path, folder / INT8_FILE, calibration=calibration, kind=int8)
            execution = exported.sentence()
        else:
            export_int8(onnx_path, folder / INT8_FILE, calibration, kind=int8)
        return Exported(Precision.FP32, FLOAT_FILE), Exported(Precision.INT8, INT8_FILE, execution, int8)

    def open(self, path: Path, /, *, threads: int) -> "OnnxDetector":
        """Return the file at `path`, ready to compute."""
        return OnnxDetector(path, threads=threads)


class OnnxDetector:
    """An ONNX file that is called like a network, so the same code measures both."""

    def __init__(self, path: Path, *, threads: int) -> None:
        self._session = open_session(path, threads=threads)
        self._input, self._noise = self._session.get_inputs()[0].name, _noise(self._session, path)

    def __call__(self, images: Tensor, /) -> Tensor:
        """Return the decoded outputs (B, 4 + n_classes, A) of float32 images (B, 3, imgsz, imgsz) in [0, 1]."""
        outputs = [self._session.run(None, {self._input: image[None]})[0] for image in images.numpy()]
        return torch.from_numpy(np.concatenate(outputs))

    def bare_call(self) -> Callable[[], object]:
        """Return what computes one image of noise and nothing else."""
        return lambda: self._session.run(None, {self._input: self._noise})


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
    except (Fail, InvalidArgument, InvalidGraph, InvalidProtobuf, NoSuchFile) as error:
        raise BadInput(f"{_name(model)} must be an ONNX file: {error}") from error


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


ONNX_RUNTIME = OnnxRuntime()
