"""Where the folders of a data yaml are: data sets travel, and what they say of their place often was true elsewhere.

Ultralytics looks for `path` in the current folder and in its own folder of data sets, YOLOv5 in its repository, and
Roboflow writes a `../` that leads nowhere. Here the folder of the yaml comes first, then those; the first place that
has every source of both splits is it.

Source: ultralytics.data.utils.check_det_dataset; YOLOv5, utils/general.py, check_dataset.
"""

import json
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from spaces.errors import BadInput

_WINDOWS = re.compile(r"[A-Za-z]:[\\/]|\\\\")  # how an absolute path begins there
_UPWARDS = "../"


class Written(NamedTuple):
    """What a data yaml says of its sources.

    Attributes:
        root: its `path`, empty where there is none.
        splits: what train and val list.
        has_download: whether it also says how to fetch them.
    """

    yaml: Path
    root: str
    splits: Mapping[str, tuple[str, ...]]
    has_download: bool


class Sources(NamedTuple):
    """Existing folders and lists of both splits, and what had to be guessed, a line each."""

    train: tuple[Path, ...]
    val: tuple[Path, ...]
    warnings: tuple[str, ...]


def resolve_sources(written: Written, /) -> Sources:
    """Return where the sources of both splits are.

    Raises:
        BadInput: no place has them all.
    """
    roots, own = list(_roots(written)), written.yaml.absolute().parent
    places = [(root, found) for root in roots if (found := _sources(written, root)) is not None]
    if places:
        (root, found), *others = places
        twice = [str(other) for other, theirs in others if not _is_same(theirs, found)]
        return found._replace(warnings=(_ambiguous(written, root, twice[0]),) if twice else ())
    beside = _sources(written, own) if written.root else None
    if beside is not None:
        what = "is a folder of Windows" if _WINDOWS.match(written.root) else "leads nowhere that has both splits"
        said_so = f"{written.yaml}: path {written.root!r:.120} {what}; the folder of the yaml has them and is used"
        return beside._replace(warnings=(said_so,))
    raise BadInput(_missing(written, roots[0] if roots else own))


def _roots(written: Written) -> Iterator[Path]:
    """Yield the folders that `path` may mean, the likeliest first."""
    folder, here = written.yaml.absolute().parent, Path.cwd()
    if _WINDOWS.match(written.root):
        return
    root = Path(written.root.replace("\\", "/"))
    for base in (folder, here, *((folder.parent, *_homes_of_data()) if written.root else ())):
        yield base / root


def _homes_of_data() -> Iterator[Path]:
    """Yield the folders in which Ultralytics keeps data sets: that of its settings, or its default."""
    home = os.environ.get("YOLO_CONFIG_DIR") or str(Path("~/.config").expanduser())
    try:
        kept = json.loads((Path(home) / "Ultralytics" / "settings.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        kept = None
    if isinstance(kept, dict) and isinstance(kept.get("datasets_dir"), str):
        yield Path(kept["datasets_dir"]).absolute()
    yield Path.cwd() / "datasets"
    yield Path.cwd().parent / "datasets"


def _sources(written: Written, root: Path) -> Sources | None:
    """Return the sources below `root`, None unless all of them are there."""
    found = {split: [_at(root, entry) for entry in entries] for split, entries in written.splits.items()}
    there = {split: tuple(path for path in paths if path is not None) for split, paths in found.items()}
    is_whole = all(len(there[split]) == len(paths) for split, paths in found.items())
    return Sources(there["train"], there["val"], ()) if is_whole else None


def _at(root: Path, entry: str) -> Path | None:
    """Return what `entry` means below `root`, if need be without the `../` that it begins with; None if nothing."""
    if _WINDOWS.match(entry):
        return None
    spelled = entry.replace("\\", "/")
    while True:
        for way in dict.fromkeys((entry, spelled)):
            if _exists(root / way):
                return root / way
        if not spelled.startswith(_UPWARDS):
            return None
        entry = spelled = spelled.removeprefix(_UPWARDS)


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except (OSError, ValueError):  # a name that is too long, or holds a zero byte
        return False


def _is_same(ours: Sources, theirs: Sources) -> bool:
    return [path.resolve() for path in (*ours.train, *ours.val)] == [
        path.resolve() for path in (*theirs.train, *theirs.val)
    ]


def _ambiguous(written: Written, chosen: Path, other: str) -> str:
    return f"{written.yaml}: both splits are in {str(chosen)!r} and in {other!r}; the first is read"


def _missing(written: Written, root: Path) -> str:
    """Return what to say of the first source that is not there."""
    listed = [(split, entry) for split, entries in written.splits.items() for entry in entries]
    split, entry = next((split, entry) for split, entry in listed if _at(root, entry) is None)
    if _WINDOWS.match(written.root):
        return (
            f"{written.yaml}: path is a folder of Windows, {written.root!r:.120}, and {split} is not in the folder of "
            "the yaml either; remove the key, or correct it"
        )
    if _WINDOWS.match(entry):
        return f"{written.yaml}: {split} is a path of Windows, {entry!r:.120}; write it relative to the yaml"
    hint = "; download is never run, fetch the data set first" if written.has_download else ""
    looked = f" (path is {written.root!r:.120})" if written.root else ""
    return (
        f"{written.yaml}: {split} must be an existing folder of images or .txt list of images, got "
        f"{str(root / entry)!r:.300}{looked}{hint}"
    )
