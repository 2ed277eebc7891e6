"""A recipe read from the words of the command line, or from a file."""

import difflib
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TypeVar

import yaml
from pydantic import ValidationError

from leaderboards.recipes import bit_keys
from leaderboards.recipes.demands import check_demands, defaults_of_control
from leaderboards.recipes.keys import EMBEDDED, LIMITS, LISTS, NO_DATA
from leaderboards.recipes.recipe import Recipe
from spaces.errors import BadInput

OLDER_NAMES = {"purse": "epoch_budget"}
Value = TypeVar("Value")

EMBEDDED_DEFAULTS: Mapping[str, object] = {
    "imgsz": 160,
    "gflops": "50%",
    "candidates": 72,
    "finetune_epochs": 1,
    "lr": 4e-4,  # at 1e-3 one epoch leaves a row at half the MACs below where reconstruction had put it
    "flip": 0.0,
}
"""What differs for the embedded digits set; a mirrored digit is another digit or none."""


def read_recipe(words: Sequence[str], *, needs_data: bool = True) -> Recipe:
    """Return the recipe of `key=value` words; `config=file.yaml` gives the same keys, and the command line wins.

    Args:
        needs_data: whether weights without data are refused.

    Raises:
        BadInput: an unknown key (the nearest one is named), a value that is not allowed, or keys that do not go
            together.
    """
    pairs = _renamed(read_pairs(words, allowed=[*Recipe.model_fields, "config", *OLDER_NAMES]))
    config = pairs.pop("config", None)
    given: dict[str, object] = {} if config is None else _renamed(_config_file(Path(config)))
    for key in given:
        if key not in Recipe.model_fields:
            raise BadInput(f"config: unknown key {key!r:.60}{_nearest(key, list(Recipe.model_fields))}")
    given |= {key: _listed(key, value) if key in LISTS else value for key, value in pairs.items()}
    if not needs_data and "weights" in given:
        given.setdefault("data", NO_DATA)
    weights, data = given.get("weights", EMBEDDED), given.get("data", EMBEDDED)
    if data == NO_DATA and needs_data:
        raise BadInput("data must name a data yaml or a folder of images")
    if (weights == EMBEDDED) != (data == EMBEDDED):
        missing = "data" if data == EMBEDDED else "weights"
        raise BadInput(f"{missing} must be given too: the embedded digits detector and data set belong together")
    if own := defaults_of_control(given):
        given = {**own, **given}
    if weights == EMBEDDED:
        own_limit = bool(own) or any(limit in given for limit in LIMITS)
        defaults = {key: value for key, value in EMBEDDED_DEFAULTS.items() if key != "gflops" or not own_limit}
        given = {**defaults, **given}
    given.setdefault("out", default_name(str(weights), str(data)))
    try:
        recipe = Recipe.model_validate(given)
    except ValidationError as error:
        raise BadInput(_first_fault(error)) from error
    check_demands(recipe)
    return recipe


def _renamed(given: Mapping[str, Value]) -> dict[str, Value]:
    """Return `given` with today's names of keys that had another one.

    Raises:
        BadInput: a key is given under both.
    """
    for old, new in OLDER_NAMES.items():
        if old in given and new in given:
            raise BadInput(f"{new} is given twice, once by its older name {old}")
    return {OLDER_NAMES.get(key, key): value for key, value in given.items()}


def read_pairs(words: Sequence[str], *, allowed: Sequence[str]) -> dict[str, str]:
    """Return `key=value` words as a mapping.

    Raises:
        BadInput: a word of another form, a key that is not among `allowed`, or one that is given twice.
    """
    pairs: dict[str, str] = {}
    for word in words:
        key, equals, value = word.partition("=")
        if key not in allowed:
            raise BadInput(f"unknown key {key!r:.60}{_nearest(key, allowed)}")
        if not equals or not value:
            raise BadInput(f"{word!r:.60} must be key=value")
        if key in pairs:
            raise BadInput(f"{key} is given twice")
        pairs[key] = value
    return pairs


def default_name(weights: str, data: str) -> str:
    """Return the run name that weights and data suggest."""
    if weights == EMBEDDED:
        return EMBEDDED
    folder = Path(data).resolve().parent.name
    return re.sub(r"[^A-Za-z0-9._-]+", "-", f"{Path(weights).stem}-{folder}").strip("-.")[:64] or "run"


def _listed(key: str, value: str) -> object:
    """Return a list from "[a, b]" or "a,b"."""
    parts = tuple(part.strip() for part in value.strip("[]").split(",") if part.strip())
    if bit_keys.is_given_empty(key, parts):
        raise BadInput(f"{key} must have at least one number of bits, as in {key}=8, got {value!r:.60}")
    return parts


def _config_file(path: Path) -> dict[str, object]:
    if not path.is_file():
        raise BadInput(f"config: {str(path)!r} not found")
    if path.stat().st_size > 1_000_000:
        raise BadInput(f"config: {str(path)!r} is larger than 1 MB")
    try:
        record = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, ValueError, RecursionError) as error:  # not UTF-8; a date such as 2026-13-45; too deep
        raise BadInput(f"config: {str(path)!r} is no YAML: {' '.join(str(error).split()):.120}") from error
    if not isinstance(record, dict):
        raise BadInput(f"config: {str(path)!r} must map keys to values")
    return {str(key): value for key, value in record.items() if value is not None}


def _nearest(key: str, allowed: Sequence[str]) -> str:
    close = difflib.get_close_matches(key, allowed, n=1, cutoff=0.5)
    others = f"the keys are {', '.join(allowed)}" if allowed else "there are no keys here"
    return f"; did you mean {close[0]!r}?" if close else f"; {others}"


def _first_fault(error: ValidationError) -> str:
    fault = error.errors()[0]
    key = ".".join(str(part) for part in fault["loc"][:1])
    return f"{key}: {fault['msg'].removeprefix('Value error, ')}, got {fault['input']!r:.60}"
