"""Which file has the weights of which backbone."""

from pathlib import Path

from spaces.detectors.backbones.trunks import check_backbone
from spaces.errors import BadInput

KEY = "backbone_weights"


def read_weight_paths(text: str, /) -> dict[str, Path]:
    """Return the files by backbone that `text` names, as in "ghostnet:a.safetensors,lcnet:b.pth".

    Raises:
        BadInput: another form, an unknown backbone, one that is named twice, or a file that is not there.
    """
    paths: dict[str, Path] = {}
    for word in text.split(","):
        name, colon, path = word.strip().partition(":")
        if not colon or not path:
            raise BadInput(f"{KEY} must be BACKBONE:FILE,..., got {word!r:.60}")
        check_backbone(name)
        if name in paths:
            raise BadInput(f"{KEY}: {name} is given twice")
        if not Path(path).is_file():
            raise BadInput(f"{KEY}: {path!r:.200} not found (nothing is downloaded)")
        paths[name] = Path(path)
    return paths
