"""The data yaml, in the Ultralytics layout: class names, and where the images of each split are.

It comes from strangers, so it is only ever read as plain data: no tags, no aliases (a few lines of them can stand for
gigabytes), no `download:` script, and nothing larger or deeper than such a file has reason to be.
"""

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

from spaces.errors import BadInput

_MAX_BYTES = 1_000_000
_MAX_DEPTH = 20
_MAX_CLASSES = 10_000


@dataclass(frozen=True)
class DataYaml:
    """What a data yaml says.

    Attributes:
        names: class names by class number.
        train: folders of images or .txt lists of images; `val` likewise.
    """

    names: tuple[str, ...]
    train: tuple[Path, ...]
    val: tuple[Path, ...]


def read_data_yaml(path: Path) -> DataYaml:
    """Return the checked content of the data yaml at `path`; its own `path:` key is relative to its folder.

    Raises:
        BadInput: the file is missing or broken, or one of its keys is not what it has to be.
    """
    content = _parse(path)
    if "download" in content:
        raise BadInput(f"{path}: download is refused, nothing is fetched or run for a data set; remove the key")
    root = content.get("path") or "."
    if not isinstance(root, str):
        raise BadInput(f"{path}: path must be a folder, got {_short(root)}")
    folder = path.absolute().parent / root
    return DataYaml(
        _names(content, path), _sources(content, "train", path, folder), _sources(content, "val", path, folder)
    )


def _parse(path: Path) -> Mapping[object, object]:
    text = _read(path)
    try:
        _refuse_bombs(text)
        content = yaml.safe_load(text)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f":{mark.line + 1}:{mark.column + 1}" if mark else ""
        raise BadInput(f"{path}{place}: not plain YAML: {error.problem or error.context}") from error
    except (yaml.YAMLError, ValueError) as error:  # a date such as 2026-13-45 is a bare ValueError
        raise BadInput(f"{path}: not plain YAML: {' '.join(str(error).split())}") from error
    if not isinstance(content, dict):
        raise BadInput(f"{path}: a data yaml must be a mapping with train, val and names, got {_short(content)}")
    return content


def _read(path: Path) -> str:
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise BadInput(f"{path}: a data yaml must be at most {_MAX_BYTES} bytes, got {path.stat().st_size}")
        return path.read_text(encoding="utf-8-sig")
    except FileNotFoundError as error:
        raise BadInput(f"{path}: no such data yaml{_nearest(path)}") from error
    except UnicodeDecodeError as error:
        raise BadInput(f"{path}: must be text in UTF-8, byte {error.start} is not") from error


def _nearest(path: Path) -> str:
    if not path.parent.is_dir():
        return f", and no folder {path.parent}"
    there = sorted(entry.name for entry in path.parent.iterdir() if entry.suffix in (".yaml", ".yml"))
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
    nc, names = content.get("nc"), content.get("names")
    if nc is not None and (type(nc) is not int or not 1 <= nc <= _MAX_CLASSES):
        raise BadInput(f"{path}: nc must be an integer from 1 to {_MAX_CLASSES}, got {_short(nc)}")
    if names is None and nc is None:
        raise BadInput(f"{path}: names is missing; it must list the class names")
    listed = _listed(names, path) if names is not None else [f"class_{index}" for index in range(nc or 0)]
    if nc is not None and nc != len(listed):
        raise BadInput(f"{path}: nc must be the number of names, got nc {nc} and {len(listed)} names")
    return _checked(listed, path)


def _listed(names: object, path: Path) -> Sequence[object]:
    """Return the names in the order of their classes."""
    if isinstance(names, list):
        return names
    if not isinstance(names, dict):
        raise BadInput(f"{path}: names must be a list, or a mapping from class number to name, got {_short(names)}")
    by_class = {str(key): name for key, name in names.items()}
    missing = [index for index in range(len(names)) if str(index) not in by_class]
    if missing:
        keys = _short(list(names))
        raise BadInput(
            f"{path}: names must be numbered 0 to {len(names) - 1} without a gap, {missing[0]} is missing in {keys}"
        )
    return [by_class[str(index)] for index in range(len(names))]


def _checked(names: Sequence[object], path: Path) -> tuple[str, ...]:
    if not 1 <= len(names) <= _MAX_CLASSES:
        raise BadInput(f"{path}: names must hold 1 to {_MAX_CLASSES} names, got {len(names)}")
    first: dict[str, int] = {}
    for index, name in enumerate(names):
        if isinstance(name, bool) or not isinstance(name, str | int | float):
            raise BadInput(f"{path}: names must be text, got {_short(name)} for class {index}; put it in quotes")
        if first.setdefault(str(name), index) != index:
            raise BadInput(f"{path}: names must differ, classes {first[str(name)]} and {index} are both {name!r}")
    return tuple(first)


def _sources(content: Mapping[object, object], split: str, path: Path, folder: Path) -> tuple[Path, ...]:
    value = content.get(split)
    listed = value if isinstance(value, list) else [value]
    entries = [entry for entry in listed if isinstance(entry, str) and entry]
    if not entries or len(entries) < len(listed):
        got = f"got {_short(value)}" if split in content else "it is missing"
        raise BadInput(f"{path}: {split} must be a folder of images, a .txt list of images, or a list of those; {got}")
    return tuple(folder / entry for entry in entries)


def _short(value: object) -> str:
    return f"{value!r:.60}"
