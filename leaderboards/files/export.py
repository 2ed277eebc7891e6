"""What the user takes home: .pt, ONNX in float, ONNX in INT8, and whatever else ultralytics can write.

INT8 keeps in float all that comes after the last detection convolutions: one scale over box pixels and class
probabilities would round every score to 0. Only convolutions and matrix products are quantized: weights per output
channel, activations to uint8, which is what VNNI kernels take.
"""

import copy
import io
import os
import shutil
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import torch
from ultralytics import __version__ as ultralytics_version
from ultralytics.engine.exporter import export_formats
from ultralytics.nn.tasks import DetectionModel

from evaluators.runtimes.onnx_export import LICENSE
from evaluators.runtimes.runtime import Images, OpenFile
from spaces.errors import BadInput
from spaces.files import write_atomic


def compare(model: DetectionModel, file: OpenFile, images: Images) -> float:
    """Return the largest difference between the outputs of `model` and of `file`, over the largest of `model`.

    The images must be of the size of the export.
    """
    evaluated = copy.deepcopy(model).cpu().float().eval()
    batch = torch.from_numpy(images)
    with torch.no_grad():
        expected = evaluated(batch)[0]
    difference = (file(batch) - expected).abs().max()
    return float(difference / expected.abs().max())


def opens_in_ultralytics(model: DetectionModel) -> bool:
    """Return whether Ultralytics itself has all classes of `model`: it has none for anchor-based heads."""
    return type(model) is DetectionModel


def save_pt(model: DetectionModel, path: Path, *, imgsz: int) -> Path:
    """Write `model` in float32 as a checkpoint that `YOLO(path)` opens; return `path`.

    It holds classes of torch and ultralytics only, so it opens under ULTRALYTICS_SAFE_LOAD=1 too; see
    `opens_in_ultralytics`.
    """
    stored = copy.deepcopy(model).cpu().float().eval().to(memory_format=torch.contiguous_format)
    stored.args = {"imgsz": imgsz, "task": "detect"}
    checkpoint = {
        "epoch": -1,
        "model": stored,
        "train_args": {"imgsz": imgsz, "task": "detect"},
        "date": datetime.now(UTC).isoformat(),
        "version": ultralytics_version,
        "license": LICENSE,
    }
    content = io.BytesIO()
    torch.save(checkpoint, content)
    write_atomic(path, content.getvalue())
    return path


def export_other(model_pt: Path, format: str, folder: Path) -> Path:  # noqa: A002 (the key that users know)
    """Return what ultralytics' exporter writes into `folder` for any `format` that it knows.

    The exporter runs in a process of its own, with automatic installation off.

    Raises:
        BadInput: the format is unknown, or the tool that writes it is missing or fails.
    """
    known = sorted(set(export_formats()["Argument"]) - {"-"})
    if format not in known:
        raise BadInput(f"format must be one of {', '.join(known)}, got {format!r}")
    folder.mkdir(parents=True, exist_ok=True)
    local = folder / model_pt.name
    if local.resolve() != model_pt.resolve():
        shutil.copyfile(model_pt, local)
    script = "import sys; from ultralytics import YOLO; print(YOLO(sys.argv[1]).export(format=sys.argv[2]))"
    done = subprocess.run(  # noqa: S603 (our own interpreter and script; the format was checked above)
        [sys.executable, "-c", script, str(local), format],
        env={**os.environ, "YOLO_AUTOINSTALL": "false", "ULTRALYTICS_SAFE_LOAD": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    written = Path((done.stdout.strip().splitlines() or [""])[-1])
    if done.returncode or not written.exists():
        reason = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise BadInput(f"format={format} cannot be written here: {reason}")
    return written
