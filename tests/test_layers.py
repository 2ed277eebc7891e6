"""The house: imports go leftwards, and the four names are ours."""

import ast
import re
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
ORDER = ["spaces", "evaluators", "search", "leaderboards"]
ROOMS = {  # what stands in each folder, from the bottom up: a room imports those before it
    "spaces": "errors files candidate networks activations channels space searchable informed_space importance cutting "
    "bits union recovery detectors study integers bases build",
    "spaces/detectors": "unpickling stored description departures agreement checkpoint weights_file embedded backbones "
    "yolov5 detector classes",
    "evaluators": "metric result budget data runtimes accuracy measure latency proxies devices worker",
    "search": "strategy executor replay journal pareto loop heartbeat ray_session on_ray on_tune strategies methods",
    "leaderboards": "environment run_path wording detection_metrics earlier_rows entry choice columns leaderboard "
    "watcher trackers recipes run_records run_folder select files reports tuning runs benchmarks verbs",
    "leaderboards/recipes": "strategy_keys size_keys ranking_keys bit_keys tuning_keys parts keys recipe demands "
    "limits reading",
    "leaderboards/runs": "bases executors clock progress rivals problem data inputs strategies fidelities references "
    "rows profile prepare studies methods run",
    "leaderboards/reports": "resampling chart_style table detection_table agreement charts findings render card report "
    "across publish",
    "leaderboards/benchmarks": "record by_name arguments cuts ranking bits speed whole_runs running",
    "leaderboards/verbs": "verb folders ending checks help by_name bench export keys_page profile report search select",
}
ONLY_IN = {
    "ray": ["search/ray_session.py", "search/on_ray.py", "search/on_tune.py"],
    "onnxruntime": ["evaluators/runtimes/"],
    "pandas": ["leaderboards/"],
    "rich": ["leaderboards/"],
    "timm": ["spaces/detectors/backbones/published.py"],
    "optuna": ["search/strategies/tpe.py"],
    "mlflow": ["leaderboards/trackers/mlflow_tracker.py"],
    "wandb": ["leaderboards/trackers/wandb_tracker.py"],
}
REFERENCE = re.compile(rf"({'|'.join(ORDER)})(\.\w+)+:\w+")  # as tables name code that is imported late

NAMED = re.compile(rf"(?:`|as in |-m )((?:{'|'.join(ORDER)})(?:\.\w+)+)")  # as docstrings and comments name it


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


def references(path: Path) -> list[str]:
    """Return the modules that `path` names as text, to be imported when they are asked for."""
    texts = [
        node.value for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(node, ast.Constant)
    ]
    return [text.partition(":")[0] for text in texts if isinstance(text, str) and REFERENCE.fullmatch(text)]


def room_of(path: Path, folder: str) -> str | None:
    """Return which of the things that stand in `folder` the file `path` is, or lies in; None if it is elsewhere."""
    parts = path.relative_to(folder).parts if path.is_relative_to(folder) else ()
    return parts[0].removesuffix(".py") if parts and parts != ("__init__.py",) else None


@pytest.mark.parametrize("folder", ROOMS)
def test_inside_a_folder_imports_go_down_too(folder: str) -> None:
    rooms = ROOMS[folder].split()
    there = {name for path in FILES if (name := room_of(path.relative_to(ROOT), folder))}
    assert sorted(rooms) == sorted(there), "each room has its place in the order"
    for path in FILES:
        room = room_of(path.relative_to(ROOT), folder)
        named = [] if room == "by_name" else references(path)  # a table stands below what it names beside itself
        for module in [*imports(path), *named] if room else []:
            target = room_of(Path(*module.split(".")), folder)
            if target is not None and target in rooms:
                assert rooms.index(target) <= rooms.index(str(room)), f"{path.relative_to(ROOT)} imports {module}"


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
PURE_STRATEGIES = ("random_search", "evolution", "uniform", "tpe", "unstructured", "scouting")


@pytest.mark.parametrize("module", [*PURE, *(f"strategies.{name}" for name in PURE_STRATEGIES)])
def test_the_search_needs_neither_torch_nor_ray(module: str) -> None:
    code = f"import sys, search.{module}; sys.exit(any(name in sys.modules for name in ('torch', 'ray')))"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0


def test_what_text_names_in_our_packages_is_there() -> None:
    names = {name for path in FILES for name in NAMED.findall(path.read_text(encoding="utf-8"))}
    assert len(names) > 5
    for name in names:
        path, _, last = name.replace(".", "/").rpartition("/")
        module = ROOT / f"{path}.py"
        is_defined = module.is_file() and re.search(rf"^(def|class) {last}\b", module.read_text("utf-8"), re.MULTILINE)
        assert is_defined or (ROOT / path / f"{last}.py").is_file() or (ROOT / path / last).is_dir(), name
