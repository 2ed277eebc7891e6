"""What a model file holds beside its weights: what is measured once of the parent, and added to every candidate."""

import tempfile
from pathlib import Path

from ultralytics.nn.tasks import DetectionModel

from evaluators.data.images import Images
from evaluators.runtimes.onnx_bits import export_quantized
from evaluators.runtimes.onnx_export import export_onnx
from spaces.bits.layer_bits import BitTable
from spaces.bits.quantized import plain
from spaces.bits.simulation import MIN_IMAGES, Simulator


def bits_overhead(parent: DetectionModel, table: BitTable, images: Images, /, *, imgsz: int) -> int:
    """Return how many bytes more the file of `parent` takes, at the fewest bits, than `table` says.

    Fewer bits need more nodes around each layer and fewer channels need no less, so no candidate's file has more.

    Args:
        images: for calibration; what they show changes nothing.
    """
    batch = images.tensor()[:MIN_IMAGES]
    allocation = table.uniform(min(table.options))
    network = Simulator(parent, batch)(allocation)
    assert isinstance(network, DetectionModel)
    with tempfile.TemporaryDirectory() as folder:
        onnx = export_onnx(plain(network), Path(folder) / "float.onnx", imgsz=imgsz)
        path = Path(folder) / "bits.onnx"
        export_quantized(network, onnx, path, calibration=[batch.numpy()])
        return path.stat().st_size - round(table.costs(allocation)["size_mb"] * 1e6)
