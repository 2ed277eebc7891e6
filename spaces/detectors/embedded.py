"""Where the embedded detector lies."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
EMBEDDED_PARENT = ROOT / "spaces" / "parents" / "digits-yolov5n"
