"""In which dtype the passes of a search compute, and which one this machine's processor has."""

import re
from enum import StrEnum
from pathlib import Path

CPUINFO = Path("/proc/cpuinfo")
BFLOAT16_FLAGS = ("avx512_bf16", "amx_bf16")


class ComputeDtype(StrEnum):
    """Of the convolutions of a search's forward passes."""

    FLOAT32 = "float32"
    BFLOAT16 = "bfloat16"


def native_dtype(cpuinfo: Path = CPUINFO, /) -> ComputeDtype:
    """Return the fastest dtype that this machine's processor computes itself; others would emulate bfloat16.

    Args:
        cpuinfo: what Linux tells of the processor; where there is none, no processor known to us has bfloat16.
    """
    text = cpuinfo.read_text(encoding="utf-8", errors="replace") if cpuinfo.exists() else ""
    found = re.search(r"^flags\s*:(.*)$", text, re.MULTILINE)
    flags = found[1].split() if found else []
    return ComputeDtype.BFLOAT16 if any(flag in flags for flag in BFLOAT16_FLAGS) else ComputeDtype.FLOAT32
