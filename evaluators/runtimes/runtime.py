"""Who computes a deployed file: what a runtime has to do to be one."""

from collections.abc import Callable, Sequence
from pathlib import Path
from pkgutil import resolve_name
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray
from torch import Tensor
from ultralytics.nn.tasks import DetectionModel

from evaluators.runtimes.by_name import RUNTIMES, check_installed
from evaluators.runtimes.precision import Int8, Precision

Images = NDArray[np.float32]  # (B, 3, imgsz, imgsz), RGB in [0, 1]


class Exported(NamedTuple):
    """A file that a runtime has written.

    Attributes:
        file: its name in the folder that it was written to; a folder of its own counts as a file.
        execution: how the bits of a network of few bits are stored and computed, in words; None for any other.
        kind: for which processors its integers are made; None where there is no such choice.
    """

    precision: Precision
    file: str
    execution: str | None = None
    kind: Int8 | None = None


class OpenFile(Protocol):
    """A file that is ready to compute."""

    def __call__(self, images: Tensor, /) -> Tensor:
        """Return the decoded outputs (B, 4 + n_classes, A) of float32 images (B, 3, imgsz, imgsz) in [0, 1]."""
        ...

    def bare_call(self) -> Callable[[], object]:
        """Return what computes one image of noise and nothing else: what is timed."""
        ...


class Runtime(Protocol):
    """Writes the files of a network and computes them on this machine's CPU."""

    @property
    def name(self) -> str:
        """Its name in keys, columns and file names."""
        ...

    @property
    def version(self) -> str:
        """What it is called in print, with its version."""
        ...

    @property
    def precisions(self) -> tuple[Precision, ...]:
        """Those that it can write, the exact one first."""
        ...

    def export(
        self, model: DetectionModel, folder: Path, /, *, imgsz: int, calibration: Sequence[Images], int8: Int8
    ) -> tuple[Exported, ...]:
        """Return the files of `model`, one for each precision, written to `folder`; `model` is left as it is.

        Args:
            calibration: batches like those the model will see; their activations set the scales of integers.
            int8: for which processors integers are made, if the runtime has a choice.

        Raises:
            BadInput: this network cannot be written by this runtime; in one line.
        """
        ...

    def open(self, path: Path, /, *, threads: int) -> OpenFile:
        """Return the file at `path`, ready to compute on `threads` threads, batch 1.

        Raises:
            BadInput: the file is missing, is not a model, or has an input of unknown size.
        """
        ...


def load_runtime(name: str, /) -> Runtime:
    """Return the runtime called `name`.

    Raises:
        BadInput: what it needs is not installed.
    """
    check_installed(name)
    runtime: Runtime = resolve_name(RUNTIMES[name].runtime)
    return runtime
