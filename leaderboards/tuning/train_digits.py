"""What trained the shipped parent: `python -m leaderboards.tuning.train_digits`, about 25 minutes on two cores.

Ultralytics' own trainer, from random weights; the last epoch's average is taken, so nothing is picked on val.
"""

import os
import tempfile
from pathlib import Path

import yaml
from ultralytics import YOLO

from evaluators.data.digits import IMGSZ, render_digits
from spaces.candidate import Candidate
from spaces.detectors.detector import load_detector, save_detector
from spaces.detectors.embedded import EMBEDDED_PARENT, ROOT

EPOCHS = 60


def train() -> None:
    """Train yolov5n on the digits set and replace the shipped parent, in float16."""
    description = render_digits(ROOT / "datasets")
    with tempfile.TemporaryDirectory() as folder:
        absolute = Path(folder) / "data.yaml"  # Ultralytics reads a relative path against the working directory
        content = yaml.safe_load(description.read_text(encoding="utf-8"))
        absolute.write_text(yaml.safe_dump({**content, "path": str(description.parent)}), encoding="utf-8")
        YOLO("yolov5n.yaml").train(
            data=str(absolute), imgsz=IMGSZ, epochs=EPOCHS, batch=32, seed=0, device="cpu", workers=1, cache="ram",
            optimizer="AdamW", lr0=0.002, lrf=0.01, warmup_epochs=2, weight_decay=0.0005,
            mosaic=1.0, close_mosaic=12, fliplr=0.0, scale=0.3, translate=0.1, erasing=0.0,
            amp=False, val=False, plots=False, project=folder, name="parent",
        )  # fmt: skip
        model, _ = load_detector(Path(folder) / "parent" / "weights" / "last.pt")
    save_detector(model, EMBEDDED_PARENT, candidate=Candidate("same", ()), is_half=True)


if __name__ == "__main__":
    os.environ["YOLO_AUTOINSTALL"] = "false"
    train()
