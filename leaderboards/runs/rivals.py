"""Rivals: other trained detectors that a user could take instead, as rows beside those that a search has found."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ultralytics.nn.tasks import DetectionModel

from leaderboards.runs.bases import check_sizes
from spaces.bases.names import SAME
from spaces.detectors.backbones.trunks import TRUNKS
from spaces.detectors.classes import with_classes
from spaces.detectors.detector import load_detector
from spaces.errors import BadInput


@dataclass(frozen=True, eq=False)
class Rival:
    """Another trained detector, which answers in the classes of the data.

    Attributes:
        unknown: those classes that it was not trained on.
    """

    path: Path
    network: DetectionModel
    unknown: tuple[str, ...]


def load_rivals(paths: Sequence[str], names: Sequence[str], /, *, imgsz: int) -> dict[str, Rival]:
    """Return the detectors at `paths` by the names that their rows get, which are those of the files.

    Args:
        names: the classes of the data.
        imgsz: of the images that they are fed.

    Raises:
        BadInput: one cannot be read, be fed or knows none of the classes, or two have one name.
    """
    rivals: dict[str, Rival] = {}
    for path in map(Path, paths):
        name = _row_name(path)
        if name in rivals:
            raise BadInput(f"rivals: two files are called {name!r}, and rows are named after files")
        try:
            model, architecture = load_detector(path)
            if architecture.bits:
                raise BadInput("it is a network of few bits, and rivals must be in float")
            check_sizes(model, [imgsz])
            network, unknown = with_classes(model, architecture, names)
        except BadInput as error:
            raise BadInput(f"rivals: {str(path)!r}: {error}") from error
        rivals[name] = Rival(path, network, unknown)
    return rivals


def notes_on(rivals: Mapping[str, Rival], /) -> list[str]:
    """Return a sentence for each rival that does not know all classes."""
    return [
        f"{name} knows {len(rival.network.names) - len(rival.unknown)} of the {len(rival.network.names)} classes, "
        f"not {', '.join(rival.unknown)}."
        for name, rival in rivals.items()
        if rival.unknown
    ]


def _row_name(path: Path) -> str:
    name = re.sub(r"[^a-z0-9]+", "_", path.stem.lower()).strip("_")
    return f"rival_{name}" if not name[:1].isalpha() or name in (SAME, "parent", *TRUNKS) else name
