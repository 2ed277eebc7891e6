"""What benchmarks run on and where: the known data sets with their parents, and Ray's workers or this process."""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch

from evaluators.result import Result
from leaderboards.recipe import EMBEDDED, Recipe, read_recipe
from search import on_ray
from search.executor import InProcess, Job, Measure
from spaces.errors import BadInput

REAL = {
    "bccd": ("weights/bccd_yolov5nu_320.pt", "data/bccd/data.yaml", "imgsz=320"),
    "coco128": ("weights/coco_yolov8n.pt", "data/coco128/data.yaml", "imgsz=640"),
}
DEADLINE_S = 7200.0  # for one job


def known_data() -> list[str]:
    """Return the names of the data sets that are here: digits, and those that REAL_DATA leads to."""
    return [EMBEDDED, *(name for name in REAL if (_root() / REAL[name][1]).is_file())]


def recipe_of(data: str, *words: str) -> Recipe:
    """Return the recipe of a known data set, with `words` as on the command line.

    Raises:
        BadInput: another name, or REAL_DATA does not lead to it.
    """
    if data == EMBEDDED:
        return read_recipe(words)
    if data not in known_data():
        raise BadInput(f"data={data!r:.60} must be {EMBEDDED}, or {' or '.join(REAL)} with REAL_DATA leading to it")
    weights, yaml, imgsz = REAL[data]
    return read_recipe([f"weights={_root() / weights}", f"data={_root() / yaml}", imgsz, *words])


def command(name: str, data: str, words: str) -> str:
    """Return what repeats the benchmark `name` on `data`."""
    where = "" if data == EMBEDDED else "REAL_DATA=../shared "
    return f"{where}python run_search.py bench {name} data={data} {words} --json"


def measured(make: Callable[[], Measure], jobs: Sequence[Job], *, workers: int) -> Iterator[Result]:
    """Yield the results of `jobs` as they come, by what `make` returns here if there is one worker, else in Ray's."""
    if workers == 1 or not jobs:
        yield from InProcess(make()).run(jobs) if jobs else ()
        return
    on_ray.start(None, workers)
    try:
        executor = on_ray.RayExecutor(make, workers=workers, deadline_s=DEADLINE_S)
        try:
            yield from executor.run(jobs)
        finally:
            executor.close()
    finally:
        on_ray.stop()


@contextmanager
def one_thread() -> Iterator[None]:
    """Let torch use one thread, as each worker of a search does."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _root() -> Path:
    return Path(os.environ.get("REAL_DATA", "."))
