"""ONNX files in float and in INT8.

INT8 keeps in float all that comes after the last detection convolutions: one scale over box pixels and class
probabilities would round every score to 0. Only convolutions and matrix products are quantized: weights per output
channel, activations to uint8, which is what VNNI kernels take.
"""

import copy
import logging
import tempfile
import warnings
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import onnx
import torch
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process
from ultralytics import __version__ as ultralytics_version
from ultralytics.nn.modules.conv import Conv
from ultralytics.nn.modules.head import Detect
from ultralytics.nn.tasks import DetectionModel

from evaluators.runtimes.precision import Int8
from evaluators.runtimes.runtime import Images
from spaces.files import write_atomic

OPSET = 18  # ONNX Runtime's quantizer refuses 21 and above
LICENSE = "AGPL-3.0 License (https://ultralytics.com/license)"
QUANTIZED = ("Conv", "MatMul", "Gemm")
INT8_KIND = "int8"  # the key of a file's metadata that says for which processors its integers are made


def export_onnx(model: DetectionModel, path: Path, *, imgsz: int) -> Path:
    """Write `model` as an ONNX file with fused BatchNorm, batch 1, static shape; return `path`.

    The one output is decoded: (1, 4 + n_classes, A), boxes as centre and size in pixels, scores in [0, 1].
    The metadata are ultralytics', so `YOLO(path)` predicts with the file.
    """
    fused = _fused(copy.deepcopy(model).cpu().float().eval().requires_grad_(False))
    head = fused.model[-1]
    head.export, head.format, head.dynamic, head.shape = True, "onnx", False, None
    example = torch.zeros(1, 3, imgsz, imgsz)
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the tracer warns of each Python condition on a shape, all of them static here
        traced = Path(folder) / "traced.onnx"
        torch.onnx.export(
            fused,
            (example,),
            str(traced),
            opset_version=OPSET,
            dynamo=False,
            input_names=["images"],
            output_names=["output0"],
        )
        graph = onnx.load(traced)
    onnx.helper.set_model_props(graph, _metadata(model, imgsz))
    write_atomic(path, graph.SerializeToString())
    return path


def export_int8(onnx_path: Path, path: Path, calibration: Iterable[Images], /, *, kind: Int8 = Int8.PORTABLE) -> Path:
    """Write the float ONNX file at `onnx_path` with INT8 convolutions, quantized on `calibration`; return `path`.

    64 images like those the model will see are enough of a calibration; their activations' extremes set the scales.
    Weights of a portable file lie in [-64, 64].
    """
    with tempfile.TemporaryDirectory() as folder, quiet_root_logger():
        prepared, quantized = Path(folder) / "prepared.onnx", Path(folder) / "int8.onnx"
        quant_pre_process(str(onnx_path), str(prepared), skip_symbolic_shape=True)
        graph = onnx.load(prepared)
        quantize_static(
            str(prepared),
            str(quantized),
            CalibrationImages(graph.graph.input[0].name, calibration),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=list(QUANTIZED),
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            reduce_range=kind is Int8.PORTABLE,
            nodes_to_exclude=decoding_nodes(graph),
        )
        result = onnx.load(quantized)
    metadata = {entry.key: entry.value for entry in onnx.load(onnx_path).metadata_props}
    onnx.helper.set_model_props(result, {**metadata, INT8_KIND: kind.value})
    write_atomic(path, result.SerializeToString())
    return path


def decoding_nodes(graph: onnx.ModelProto) -> list[str]:
    """Return the names of the nodes that come after the last detection convolutions.

    Walking back from the outputs, a convolution ends the walk unless it is the one that takes the mean of each
    box distribution: that one is fed by a softmax, with only rearrangements between.
    """
    makers = {name: node for node in graph.graph.node for name in node.output}
    found: dict[str, None] = {}
    waiting = [makers[output.name] for output in graph.graph.output]
    while waiting:
        node = waiting.pop()
        if node.name in found or (node.op_type == "Conv" and not _is_fed_by_softmax(node, makers)):
            continue
        found[node.name] = None
        waiting += [makers[name] for name in node.input if name in makers]
    return list(found)


class CalibrationImages(CalibrationDataReader):  # type: ignore[misc]
    """The images one at a time, as the quantizer asks for them."""

    def __init__(self, name: str, batches: Iterable[Images]) -> None:
        self._feeds = ({name: image[None]} for batch in batches for image in batch)

    def get_next(self) -> dict[str, Images] | None:
        """Return the next image by the name of the input, None after the last."""
        return next(self._feeds, None)


@contextmanager
def quiet_root_logger() -> Iterator[None]:
    """Silence the quantizer, which logs its advice through the root logger."""
    root = logging.getLogger()
    level = root.level
    root.setLevel(logging.ERROR)
    try:
        yield
    finally:
        root.setLevel(level)


def _fused(model: DetectionModel) -> DetectionModel:
    """Return `model` with BatchNorm fused, in place; where it was folded before, no branches are merged either."""
    is_folded = any(isinstance(layer, Conv) and not hasattr(layer, "bn") for layer in model.modules())
    if not is_folded:
        return model.fuse(verbose=False)
    if isinstance(head := model.model[-1], Detect):
        head.fuse()  # of two branches only one is used
    return model


def _is_fed_by_softmax(node: onnx.NodeProto, makers: Mapping[str, onnx.NodeProto]) -> bool:
    maker = makers.get(node.input[0])
    while maker is not None and maker.op_type in ("Transpose", "Reshape"):
        maker = makers.get(maker.input[0])
    return maker is not None and maker.op_type == "Softmax"


def _metadata(model: DetectionModel, imgsz: int) -> dict[str, str]:
    head = model.model[-1]
    return {
        "description": "Ultralytics YOLO detector, made smaller by yolo-budget-search",
        "author": "Ultralytics",
        "date": datetime.now(UTC).isoformat(),
        "version": ultralytics_version,
        "license": LICENSE,
        "docs": "https://docs.ultralytics.com",
        "stride": str(int(max(model.stride))),
        "task": "detect",
        "head": type(head).__name__,
        "batch": "1",
        "imgsz": str([imgsz, imgsz]),
        "names": str(dict(model.names)),
        "args": "{}",
        "channels": "3",
        "end2end": str(getattr(model, "end2end", False)),
    }
