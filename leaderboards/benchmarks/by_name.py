"""The benchmarks: each measures a claim and says whether it holds. What they take is read from their source alone."""

import ast
import difflib
import inspect
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

from spaces.errors import BadInput

_HOME = "leaderboards.benchmarks"
BENCHMARKS: Mapping[str, str] = {
    "cutting": f"{_HOME}.cuts.cutting:cutting",
    "sampler": f"{_HOME}.cuts.sampler:sampler",
    "difficulty": f"{_HOME}.cuts.difficulty:difficulty",
    "structures": f"{_HOME}.cuts.structures:structures",
    "importance": f"{_HOME}.cuts.importance:importance",
    "granularity": f"{_HOME}.cuts.granularity:granularity",
    "reconstruction": f"{_HOME}.cuts.reconstruction:reconstruction",
    "calibration": f"{_HOME}.cuts.calibration:calibration",
    "proxies": f"{_HOME}.ranking.proxies:proxies",
    "ladder": f"{_HOME}.ranking.ladder:ladder",
    "evaluation": f"{_HOME}.ranking.evaluation:evaluation",
    "eagleeye_calibration": f"{_HOME}.ranking.eagleeye_calibration:eagleeye_calibration",
    "allocation": f"{_HOME}.bits.allocation:allocation",
    "bit_sensitivity": f"{_HOME}.bits.bit_sensitivity:bit_sensitivity",
    "quantization": f"{_HOME}.bits.quantization:quantization",
    "quantized_export": f"{_HOME}.bits.quantized_export:quantized_export",
    "joint_bits": f"{_HOME}.bits.joint_bits:joint_bits",
    "integer": f"{_HOME}.bits.integer:integer",
    "latency": f"{_HOME}.speed.latency:latency",
    "methods": f"{_HOME}.whole_runs.methods:methods",
    "obvious": f"{_HOME}.whole_runs.obvious:obvious",
    "ablation": f"{_HOME}.whole_runs.ablation:ablation",
    "swaps": f"{_HOME}.whole_runs.swaps:swaps",
    "kills": f"{_HOME}.whole_runs.kills:kills",
}
"""What measures, as "module:function" with keyword arguments that are all text."""


class BenchmarkKey(NamedTuple):
    """One key of a benchmark; a default of None is one that it must be given."""

    name: str
    default: str | None


def read_benchmark(words: Sequence[str], /) -> str:
    """Return the name of the benchmark that `words` begin with.

    Raises:
        BadInput: none or an unknown one is named.
    """
    if not words or words[0] not in BENCHMARKS:
        close = difflib.get_close_matches(words[0] if words else "", BENCHMARKS, n=1)
        hint = f"; did you mean {close[0]!r}?" if close else ""
        raise BadInput(f"name one benchmark of: {', '.join(BENCHMARKS)}{hint}")
    return words[0]


def keys_of(name: str, /) -> list[BenchmarkKey]:
    """Return the keys of a benchmark and their defaults."""
    function, tree = _function(name)
    given = [None if default is None else _text(default, tree) for default in function.args.kw_defaults]
    return [BenchmarkKey(key.arg, default) for key, default in zip(function.args.kwonlyargs, given, strict=True)]


def meaning_of(name: str, /) -> str:
    """Return what a benchmark measures, as its source says it: the docstring."""
    return inspect.cleandoc(ast.get_docstring(_function(name)[0]) or "")


def _function(name: str) -> tuple[ast.FunctionDef, ast.Module]:
    """Return a benchmark's function and the module that it stands in."""
    module, _, function = BENCHMARKS[name].partition(":")
    tree = _tree(module)
    return next(node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == function), tree


def _tree(module: str) -> ast.Module:
    spec = find_spec(module)
    assert spec is not None
    assert spec.origin is not None
    return ast.parse(Path(spec.origin).read_text(encoding="utf-8"))


def _text(default: ast.expr, tree: ast.Module) -> str:
    """Return a default as it is written on the command line; a name is looked up where it is defined."""
    if isinstance(default, ast.Constant):
        return str(default.value)
    if not isinstance(default, ast.Name):
        return ast.unparse(default)
    for node in tree.body:
        if isinstance(node, ast.Assign) and any(ast.unparse(target) == default.id for target in node.targets):
            return _text(node.value, tree)
        if isinstance(node, ast.ImportFrom) and node.module and any(alias.name == default.id for alias in node.names):
            return _text(default, _tree(node.module))
    return default.id
