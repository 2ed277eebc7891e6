"""What bases are called.

The user's own network is the base "same". Others have another backbone, fewer repeats, or see smaller images, and are
named after that: "same-2@128" has two repeats less and sees 128 pixels. A method that trains as it cuts goes through
stages: "same+s2" is the user's own network after the second round's training.
"""

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Self

from spaces.errors import BadInput

SAME = "same"
_NAME = re.compile(
    r"(?P<backbone>[a-z][a-z0-9_]*)(-(?P<dropped>[1-9]\d*))?(@(?P<imgsz>[1-9]\d*))?(\+s(?P<stage>[1-9]\d*))?"
)


@dataclass(frozen=True)
class BaseName:
    """What sets a base apart.

    Attributes:
        backbone: "same" for the user's own.
        dropped: how many repeats are left out, the least important first.
        imgsz: in pixels; None for that of the run.
        stage: how often the method of the run has trained it; 0 for a network as it came.
    """

    backbone: str = SAME
    dropped: int = 0
    imgsz: int | None = None
    stage: int = 0

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the name that is written as `text`.

        Raises:
            BadInput: it is none.
        """
        found = _NAME.fullmatch(text)
        if not found:
            raise BadInput(f"base must be a backbone, as in same, same-2 or ghostnet@128, got {text!r:.60}")
        dropped, imgsz, stage = found["dropped"], found["imgsz"], found["stage"]
        return cls(found["backbone"], int(dropped or 0), int(imgsz) if imgsz else None, int(stage or 0))

    def __str__(self) -> str:
        dropped = f"-{self.dropped}" if self.dropped else ""
        imgsz = f"@{self.imgsz}" if self.imgsz else ""
        return f"{self.backbone}{dropped}{imgsz}" + (f"+s{self.stage}" if self.stage else "")


class DepthImportance(StrEnum):
    """What tells which repeats are the least missed."""

    CHANGE = "change"
    KERNEL_GAMMA = "kernel_gamma"
