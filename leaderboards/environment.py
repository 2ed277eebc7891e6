"""The machine and the versions that figures belong to."""

import platform
from importlib.metadata import version
from pathlib import Path

LIBRARIES = ("torch", "ultralytics", "ray", "onnxruntime", "numpy", "torchvision")


def environment() -> dict[str, str]:
    """Return the machine and the versions that the figures belong to."""
    facts = {"python": platform.python_version(), "system": platform.platform(), "processor": _processor()}
    return facts | {name: version(name) for name in LIBRARIES}


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text(encoding="utf-8").splitlines() if cpuinfo.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"{names[0]}, {len(names)} cores" if names else platform.processor()
