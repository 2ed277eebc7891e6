"""What the command line says of itself, made from the recipe's keys and the tables: nothing here is written twice."""

import textwrap
from collections.abc import Mapping, Sequence
from enum import Enum
from typing import get_args

from pydantic.fields import FieldInfo

from evaluators.proxies.by_name import FIXED, PROXIES
from evaluators.runtimes.by_name import RUNTIMES
from leaderboards.benchmarks.by_name import BENCHMARKS, keys_of, meaning_of
from leaderboards.recipes.keys import LIMITS
from leaderboards.recipes.reading import EMBEDDED_DEFAULTS
from leaderboards.recipes.recipe import Recipe
from leaderboards.trackers.by_name import TRACKERS
from search.methods.by_name import METHODS
from search.strategies.by_name import STRATEGIES
from spaces.bases.names import SAME
from spaces.bits.layer_bits import ACTIVATION_BITS, WEIGHT_BITS
from spaces.detectors.backbones.trunks import TRUNKS

WIDTH = 100
GROUPS: Mapping[str, tuple[str, ...]] = {
    "What is given": ("weights", "data", "names", "images", "imgsz", "config", "out", "seed"),
    "Limits": (*LIMITS, "device_file", "allow_foreign_device"),
    "What is searched": (
        "strategy", "candidates", "front", "references", "rivals", "proxy", "ladder", "search_images", "precision",
    ),
    "How networks are cut": ("importance", "recovery", "calibration_images", "keep_min", "align"),
    "Across networks": (
        "backbones", "graft_epochs", "backbone_weights", "depth", "depth_importance", "image_sizes",
    ),
    "Bits": ("bits", "activation_bits", "qat_epochs"),
    "Methods that train between cuts, and the control": (
        "rounds", "round_epochs", "sparsity", "granularity", "sparsity_percent",
    ),
    "How rows are fine-tuned": (
        "finetune_epochs", "labels", "epoch_budget", "batch", "lr", "distill", "flip", "mosaic", "runtimes", "int8",
    ),
    "Where it runs": ("workers", "device", "ray_address", "track"),
}  # fmt: skip
CONFIG = "A YAML file with the same keys; the command line wins."
AMOUNT = "a number above 0, or a percentage of the parent as in 60%"
SUMMARIES: Mapping[str, str] = {
    **{name: row.summary for name, row in STRATEGIES.items()},
    **{name: row.summary for name, row in METHODS.items()},
}
COMPUTED = {  # defaults that depend on other keys or on the machine
    "activation_bits": "8 with bits",
    "importance": "greedy, or the method's own",
    "recovery": "reconstruct, or the method's own",
    "precision": "by the CPU",
    "proxy": "loss, or map50_95",
    "workers": "CPUs, at most 8",
    "image_sizes": "by limits",
    "lr": "by classes",
    "out": "by weights and data",
}
ALLOWED: Mapping[str, str] = {
    **dict.fromkeys(LIMITS, AMOUNT),
    "imgsz": "a multiple of 32 from 32 to 4096",
    "image_sizes": "multiples of 32 from 32 to 4096, with commas between them, or none",
    "strategy": ", ".join((*STRATEGIES, *METHODS)),
    "proxy": ", ".join(PROXIES),
    "ladder": f"PROXY:FACTOR,... from cheap to dear, of {', '.join(FIXED)}",
    "backbones": ", ".join((SAME, *TRUNKS)),
    "backbone_weights": "BACKBONE:FILE,...",
    "bits": f"some of {', '.join(map(str, WEIGHT_BITS))}",
    "activation_bits": f"some of {', '.join(map(str, ACTIVATION_BITS))}",
    "runtimes": f"some of {', '.join(RUNTIMES)}",
    "track": f"some of {', '.join(TRACKERS)}",
    "device": "cpu, or 0, 1, ...",
    "weights": "digits, or a path",
    "images": "a folder, or a .txt list",
    "rivals": "paths, with commas between them",
    "names": "names, with commas between them",
    "data": "digits, or a path",
    "out": "a name, or a folder without '..'",
    "config": "a path",
    "device_file": "a path",
    "ray_address": "HOST:PORT",
}


def explain_recipe(_: Sequence[str], /) -> str:
    """Return every key with its meaning, its default and what it may be."""
    lines = []
    for group, keys in GROUPS.items():
        lines += ["", f"{group}:"]
        for key in keys:
            lines += _wrapped(f"{key}={default_of(key)}", f"{meaning(key)} [{allowed(key)}]")
    lines += ["", "Strategies:"]
    for name, summary in SUMMARIES.items():
        lines += _wrapped(name, summary)
    return "\n".join(lines).lstrip("\n")


def explain_select(_: Sequence[str], /) -> str:
    """Return what the words of `select` may be."""
    return "RUN, and limits:\n" + "\n".join(line for key in LIMITS for line in _wrapped(f"{key}=", f"{meaning(key)}"))


def explain_report(_: Sequence[str], /) -> str:
    """Return what the words of `report` may be."""
    return "RUN is a name under runs/ or a folder. With several, out=NAME is where their leaderboard is written."


def explain_export(_: Sequence[str], /) -> str:
    """Return what the words of `export` may be."""
    return "\n".join(
        ["RUN, and:", *_wrapped("id=ID", "A finished row of that run."),
         *_wrapped("format=onnx", "onnx, int8, pt, or any format that Ultralytics writes, as in openvino.")]
    )  # fmt: skip


def explain_bench(words: Sequence[str], /) -> str:
    """Return what the benchmark that is named measures and its keys, or all benchmarks in a line each."""
    if not words or words[0] not in BENCHMARKS:
        lines = [line for name in BENCHMARKS for line in _wrapped(name, meaning_of(name).splitlines()[0])]
        return "\n".join(["Benchmarks (`bench NAME --help` says more):", *lines])
    keys = ", ".join(f"{key.name}={key.default}" for key in keys_of(words[0])) or "none"
    return f"{meaning_of(words[0])}\n\nKeys and defaults: {keys}"


def meaning(key: str, /) -> str:
    """Return what a key means."""
    return CONFIG if key == "config" else " ".join((Recipe.model_fields[key].description or "").split())


def default_of(key: str, /) -> str:
    """Return the default of a key as it is written, or in words."""
    if key in COMPUTED:
        return COMPUTED[key]
    return "none" if key == "config" else _written(Recipe.model_fields[key].default)


def embedded_default_of(key: str, /) -> str:
    """Return what a key is for the embedded digits where that differs; else nothing."""
    return _written(EMBEDDED_DEFAULTS[key]) if key in EMBEDDED_DEFAULTS else ""


def allowed(key: str, /) -> str:
    """Return what a key may be."""
    return ALLOWED[key] if key in ALLOWED else _of_type(Recipe.model_fields[key])


def keys_page() -> str:
    """Return the page of all keys in Markdown, docs/keys.md."""
    lines = [
        "# Keys", "",
        "Made from the recipe by `python -m leaderboards.verbs.keys_page`; a test holds the two equal. "
        "Keys are given as `key=value`, or in a YAML file named by `config=`.",
    ]  # fmt: skip
    for group, keys in GROUPS.items():
        lines += ["", f"## {group}", "", "| key | default | digits | meaning | allowed |", "|---|---|---|---|---|"]
        lines += [
            f"| `{key}` | {default_of(key)} | {embedded_default_of(key)} | {meaning(key)} | {allowed(key)} |"
            for key in keys
        ]
    lines += ["", "## Strategies", "", "| strategy | what it does |", "|---|---|"]
    lines += [f"| `{name}` | {summary} |" for name, summary in SUMMARIES.items()]
    lines += ["", "## Proxies", "", "| proxy | what it is | seconds a candidate | reads boxes | sees bits |"]
    lines += ["|---|---|---|---|---|"]
    lines += [
        f"| `{name}` | {row.metric.title} | {row.seconds:g} | {_yes(row.reads_boxes)} | {_yes(row.sees_bits)} |"
        for name, row in PROXIES.items()
    ]
    return "\n".join(lines) + "\n"


def _wrapped(head: str, text: str) -> list[str]:
    """Return `head` and the text under it."""
    return [f"  {head}", *textwrap.wrap(text, WIDTH, initial_indent="      ", subsequent_indent="      ")]


def _written(value: object) -> str:
    if value is None or value == ():
        return "none"
    if isinstance(value, tuple):
        return ",".join(map(str, value))
    return str(value).lower() if isinstance(value, bool) else str(value)


def _of_type(field: FieldInfo) -> str:
    """Return what the type and the bounds of a field let it be."""
    kinds = [kind for kind in (field.annotation, *get_args(field.annotation)) if isinstance(kind, type)]
    if options := next((kind for kind in kinds if issubclass(kind, Enum)), None):
        return ", ".join(str(option.value) for option in options)
    if bool in kinds:
        return "true or false"
    bounds = {
        name: getattr(rule, name) for rule in field.metadata for name in ("ge", "gt", "le") if hasattr(rule, name)
    }
    low = f"from {bounds['ge']:g}" if "ge" in bounds else f"above {bounds['gt']:g}" if "gt" in bounds else ""
    high = f"to {bounds['le']:g}" if "le" in bounds and bounds["le"] < 2**53 else ""
    number = "a number" if float in kinds else "a whole number" if int in kinds else "text"
    return " ".join(part for part in (number, low, high) if part)


def _yes(is_so: bool) -> str:
    return "yes" if is_so else "no"
