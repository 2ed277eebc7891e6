"""The house: imports go leftwards, and the four names are ours."""

import ast
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
ORDER = ["spaces", "evaluators", "search", "leaderboards"]
ONLY_IN = {
    "ray": ["search/on_ray.py", "search/on_tune.py"],
    "onnxruntime": ["evaluators/runtimes/", "leaderboards/files/quantized_export.py"],
    "pandas": ["leaderboards/"],
    "rich": ["leaderboards/"],
    "timm": ["spaces/detectors/backbones/trunks.py"],
    "optuna": ["search/strategies/tpe.py"],
}


def imports(path: Path) -> list[str]:
    found = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            found.append(node.module or "")
    return found


FILES = sorted(path for package in ORDER for path in (ROOT / package).rglob("*.py"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_go_leftwards_and_heavy_libraries_stay_where_they_belong(path: Path) -> None:
    place = path.relative_to(ROOT)
    allowed = ORDER[: ORDER.index(place.parts[0]) + 1]
    for module in imports(path):
        top = module.partition(".")[0]
        assert top not in ORDER or top in allowed, f"{place} imports {module}"
        assert top not in ONLY_IN or any(str(place).startswith(home) for home in ONLY_IN[top]), f"{place}: {module}"


def test_no_file_imports_itself_through_others() -> None:
    graph = {
        ".".join(path.relative_to(ROOT).with_suffix("").parts): {
            m for m in imports(path) if m.partition(".")[0] in ORDER
        }
        for path in FILES
    }
    seen: dict[str, bool] = {}  # False while it is being walked

    def walk(module: str) -> None:
        assert seen.get(module, True), f"{module} is in a cycle"
        if module not in seen:
            seen[module] = False
            for imported in graph.get(module, ()):
                walk(imported)
            seen[module] = True

    for module in graph:
        walk(module)


def test_the_four_packages_are_those_of_this_repository() -> None:
    for name in ORDER:
        assert Path(import_module(name).__file__ or "").is_relative_to(ROOT)


PURE = ("loop", "strategy", "journal", "pareto")  # the search without torch and ray
PURE_STRATEGIES = ("random_search", "evolution", "uniform", "tpe", "unstructured")


@pytest.mark.parametrize("module", [*PURE, *(f"strategies.{name}" for name in PURE_STRATEGIES)])
def test_the_search_needs_neither_torch_nor_ray(module: str) -> None:
    code = f"import sys, search.{module}; sys.exit(any(name in sys.modules for name in ('torch', 'ray')))"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0
