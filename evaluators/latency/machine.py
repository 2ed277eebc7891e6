"""What a latency belongs to: the processor and the version of the runtime, in words."""

import os
import platform
from pathlib import Path

from evaluators.runtimes.onnx_runtime import RUNTIME

_CPUINFO = Path("/proc/cpuinfo")


def this_machine() -> str:
    """Return the processor, how many cores there are, and ONNX Runtime's version; equal where times compare."""
    return f"{_processor()}, {os.cpu_count()} cores, {RUNTIME}"


def _processor() -> str:
    if not _CPUINFO.exists():
        return platform.processor() or platform.machine()
    pairs = [line.partition(":") for line in _CPUINFO.read_text(encoding="utf-8").splitlines()]
    first = {name.strip(): value.strip() for name, _, value in reversed(pairs)}
    name = first.get("model name") or platform.machine()
    family = ", ".join(f"{key} {first[key]}" for key in ("cpu family", "model") if key in first)
    return f"{name} ({family})" if family else name  # hypervisors call many processors by one name
