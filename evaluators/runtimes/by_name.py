"""Every runtime, one row each: its name, what it needs, and where its code is."""

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec

from spaces.errors import BadInput

DEFAULT = "onnxruntime"


@dataclass(frozen=True)
class RuntimeRecord:
    """One runtime.

    Attributes:
        title: its name in print.
        runtime: the `Runtime`, as "module:NAME", imported when it is asked for.
        packages: the modules that must be importable.
        extra: of this project that installs them; empty where they come in any case.
    """

    name: str
    title: str
    runtime: str
    packages: tuple[str, ...]
    extra: str = ""


_ROWS = (
    RuntimeRecord(
        "onnxruntime", "ONNX Runtime", "evaluators.runtimes.onnx_runtime:ONNX_RUNTIME", ("onnx", "onnxruntime")
    ),
)
RUNTIMES: Mapping[str, RuntimeRecord] = {row.name: row for row in _ROWS}


def check_installed(name: str, /) -> None:
    """Make sure that what the runtime `name` needs is installed, without importing it.

    Raises:
        BadInput: it is not; the message names the extra to install.
    """
    row = RUNTIMES[name]
    if missing := next((package for package in row.packages if find_spec(package) is None), None):
        what = f"'.[{row.extra}]'" if row.extra else "."
        raise BadInput(f"runtimes: {name} needs the package {missing}: pip install -e {what}")
