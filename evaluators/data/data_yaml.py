"""The data yaml, in the Ultralytics layout: class names, and where the images of each split are.

It comes from strangers, so it is only ever read as plain data: no tags, no aliases (a few lines of them can stand for
gigabytes), no `download:` script, and nothing larger or deeper than such a file has reason to be.
"""

import difflib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

from evaluators.data.source_paths import Written, resolve_sources
from spaces.errors import BadInput

SUFFIXES = (".yaml", ".yml")
_ARCHIVES = (".zip", ".tar", ".gz", ".tgz", ".7z", ".rar", ".xz", ".bz2")
_MAX_BYTES = 1_000_000
_MAX_DEPTH = 20
_MAX_CLASSES = 10_000
_MAX_KEYPOINTS = 10_000


@dataclass(frozen=True)
class DataYaml:
    """What a data yaml says.

    Attributes:
        names: class names by class number.
        train: existing folders of images or .txt lists of images; `val` likewise.
        n_keypoint_columns: columns of a label line that come after the box, as in sets made for pose.
        warnings: what was mended, a line each.
    """

    names: tuple[str, ...]
    train: tuple[Path, ...]
    val: tuple[Path, ...]
    n_keypoint_columns: int = 0
    warnings: tuple[str, ...] = ()


def read_data_yaml(path: Path) -> DataYaml:
    """Return the checked content of the data yaml at `path`, its folders found as Ultralytics and YOLOv5 find them.

    Raises:
        BadInput: the file is missing or broken, one of its keys is not what it has to be, or a split is not there.
    """
    text, warnings = _text(path)
    content = dict(_parse(text, path))
    if content.get("val") is None and content.get("validation") is not None:
        content["val"] = content["validation"]
        warnings.append(f"{path}: validation is read as val")
    root = content.get("path") or ""
    if not isinstance(root, str):
        raise BadInput(f"{path}: path must be a folder, got {_short(root)}")
    splits = {split: _entries(content, split, path) for split in ("train", "val")}
    names, n_keypoint_columns = _names(content, path), _keypoint_columns(content, path)
    found = resolve_sources(Written(path, root, splits, has_download="download" in content))
    return DataYaml(names, found.train, found.val, n_keypoint_columns, (*warnings, *found.warnings))


def find_data_yaml(path: Path) -> Path | None:
    """Return the data yaml that `path` is, or that lies in this folder; None where it is images without labels.

    Raises:
        BadInput: the folder has several, and none is called data.yaml.
    """
    if path.suffix.lower() in _ARCHIVES and path.is_file():
        raise BadInput(f"data: {str(path)!r} is an archive; unpack it, and name its data yaml or its folder")
    if not path.is_dir():
        return None if path.suffix == ".txt" else path
    there = sorted(entry for entry in path.iterdir() if entry.suffix in SUFFIXES)
    named = [entry for entry in there if entry.stem == "data"] or there
    if len(named) > 1:
        raise BadInput(f"data: {str(path)!r} has {len(named)} data yamls, {named[0].name} and others; name one")
    return named[0] if named else None


def _parse(text: str, path: Path) -> Mapping[object, object]:
    try:
        _refuse_bombs(text)
        content = yaml.safe_load(text)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f":{mark.line + 1}:{mark.column + 1}" if mark else ""
        raise BadInput(f"{path}{place}: not plain YAML: {error.problem or error.context}") from error
    except (yaml.YAMLError, ValueError, TypeError, RecursionError) as error:  # 2026-13-45 is a bare ValueError
        raise BadInput(f"{path}: not plain YAML: {' '.join(str(error).split())}") from error
    if not isinstance(content, dict):
        raise BadInput(f"{path}: a data yaml must be a mapping with train, val and names, got {_short(content)}")
    return content


def _text(path: Path) -> tuple[str, list[str]]:
    """Return what the file says, without single bytes that are not UTF-8, which Ultralytics leaves out, too."""
    content = _read(path)
    if b"\0" in content:
        raise BadInput(f"{path}: must be text in UTF-8, got bytes of 0 (UTF-16, as PowerShell writes it?)")
    try:
        return content.decode("utf-8-sig"), []
    except UnicodeDecodeError as error:
        told = f"{path}: byte {error.start} is not UTF-8, and is left out with others of its kind"
        return content.decode("utf-8-sig", errors="ignore"), [told]


def _read(path: Path) -> bytes:
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise BadInput(f"{path}: a data yaml must be at most {_MAX_BYTES} bytes, got {path.stat().st_size}")
        return path.read_bytes()
    except FileNotFoundError as error:
        raise BadInput(f"{path}: no such data yaml{_nearest(path)}") from error
    except (OSError, ValueError) as error:  # a name that is too long, or holds a zero byte
        raise BadInput(f"{path!s:.120}: cannot be read: {getattr(error, 'strerror', None) or error}") from error


def _nearest(path: Path) -> str:
    if not path.parent.is_dir():
        return f", and no folder {path.parent}"
    there = sorted(entry.name for entry in path.parent.iterdir() if entry.suffix in SUFFIXES)
    near = difflib.get_close_matches(path.name, there, cutoff=0.0)
    return f"; {path.parent} has {', '.join(near)}" if near else f"; {path.parent} has no .yaml file"


def _refuse_bombs(text: str) -> None:
    """Walk the events, which expand nothing and recurse nowhere, before anything is built from them."""
    depth = 0
    for event in yaml.parse(text, Loader=yaml.SafeLoader):
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if isinstance(event, yaml.AliasEvent) or depth > _MAX_DEPTH:
            fault = f"nesting deeper than {_MAX_DEPTH} is" if depth > _MAX_DEPTH else "aliases are"
            raise yaml.MarkedYAMLError(problem=f"{fault} not allowed", problem_mark=event.start_mark)  # type: ignore[arg-type]


def _names(content: Mapping[object, object], path: Path) -> tuple[str, ...]:
    names = content.get("names")
    nc = _class_count(content.get("nc"), path)
    if names is None and nc is None:
        raise BadInput(f"{path}: names is missing; it must list the class names")
    listed = _listed(names, path) if names is not None else [f"class_{index}" for index in range(nc or 0)]
    if nc is not None and nc != len(listed):
        raise BadInput(f"{path}: nc must be the number of names, got nc {nc} and {len(listed)} names")
    return _checked(listed, path)


def _class_count(nc: object, path: Path) -> int | None:
    """Return `nc` as a whole number, which may be written as text, too."""
    if nc is None:
        return None
    count = _whole(nc)
    if count is None or not 1 <= count <= _MAX_CLASSES:
        raise BadInput(f"{path}: nc must be an integer from 1 to {_MAX_CLASSES}, got {_short(nc)}")
    return count


def _whole(value: object) -> int | None:
    """Return the whole number that `value` is or spells: 3, 3.0, '3'."""
    try:
        number = math.nan if isinstance(value, bool) else float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        return None
    return int(number) if number.is_integer() else None


def _listed(names: object, path: Path) -> Sequence[object]:
    """Return the names in the order of their classes."""
    if isinstance(names, list):
        return names
    if not isinstance(names, dict):
        raise BadInput(f"{path}: names must be a list, or a mapping from class number to name, got {_short(names)}")
    by_class = {_whole(key): name for key, name in names.items()}
    missing = [index for index in range(len(names)) if index not in by_class]
    if missing:
        keys = _short(list(names))
        raise BadInput(
            f"{path}: names must be numbered 0 to {len(names) - 1} without a gap, {missing[0]} is missing in {keys}"
        )
    return [by_class[index] for index in range(len(names))]


def _checked(names: Sequence[object], path: Path) -> tuple[str, ...]:
    """Return the names as text: what yaml reads as yes, 1.0 or nothing is called True, 1.0 and None in weights, too."""
    if not 1 <= len(names) <= _MAX_CLASSES:
        raise BadInput(f"{path}: names must hold 1 to {_MAX_CLASSES} names, got {len(names)}")
    first: dict[str, int] = {}
    for index, name in enumerate(names):
        if isinstance(name, list | dict | set):
            raise BadInput(f"{path}: names must be text, got {_short(name)} for class {index}")
        if first.setdefault(str(name), index) != index:
            raise BadInput(f"{path}: names must differ, classes {first[str(name)]} and {index} are both {name!r}")
    return tuple(first)


def _keypoint_columns(content: Mapping[object, object], path: Path) -> int:
    shape = content.get("kpt_shape")
    if shape is None:
        return 0
    numbers = [_whole(number) for number in shape] if isinstance(shape, list) else []
    if len(numbers) != 2 or not 1 <= (numbers[0] or 0) <= _MAX_KEYPOINTS or numbers[1] not in (2, 3):
        raise BadInput(f"{path}: kpt_shape must be [number of keypoints, 2 or 3], got {_short(shape)}")
    return (numbers[0] or 0) * (numbers[1] or 0)


def _entries(content: Mapping[object, object], split: str, path: Path) -> tuple[str, ...]:
    value = content.get(split)
    listed = value if isinstance(value, list) else [value]
    entries = [entry for entry in listed if isinstance(entry, str) and entry]
    if not entries or len(entries) < len(listed):
        got = f"got {_short(value)}" if split in content else "it is missing"
        raise BadInput(f"{path}: {split} must be a folder of images, a .txt list of images, or a list of those; {got}")
    return tuple(entries)


def _short(value: object) -> str:
    return f"{value!r:.60}"
