"""What benchmarks run on and where: the known data sets with their parents, and Ray's workers or this process."""

import math
import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from ultralytics.nn.tasks import DetectionModel

from evaluators.data.dataset import Sample
from evaluators.result import Job, Measure, Result
from leaderboards.recipes.keys import EMBEDDED
from leaderboards.recipes.parts import Parts
from leaderboards.recipes.reading import read_recipe
from leaderboards.tuning.finetune import FinetuneRecipe, finetune
from search import on_ray, ray_session
from search.executor import InProcess
from spaces.errors import BadInput

REAL = {
    "bccd": ("weights/bccd_yolov5nu_320.pt", "data/bccd/data.yaml", "imgsz=320"),
    "coco2k": ("weights/coco_yolov8n.pt", "data/coco2k/data.yaml", "imgsz=320"),
    "coco128": ("weights/coco_yolov8n.pt", "data/coco128/data.yaml", "imgsz=640"),
}
ALONE = ("references=false", "image_sizes=none")  # a benchmark takes the best cut of the network at its own size
DEADLINE_S = 7200.0  # for one job
MOST = 100_000  # of anything that is counted


def known_data() -> list[str]:
    """Return the names of the data sets that are here: digits, and those that REAL_DATA leads to."""
    return [EMBEDDED, *(name for name in REAL if (_root() / REAL[name][1]).is_file())]


def parts_of(data: str, *words: str, alone: Sequence[str] = ALONE) -> Parts:
    """Return the parts of the recipe of a known data set, with `words` as on the command line.

    Args:
        alone: what leaves out the rest of a usual run.

    Raises:
        BadInput: another name, or REAL_DATA does not lead to it.
    """
    if data == EMBEDDED:
        return read_recipe([*alone, *words]).parts()
    if data not in known_data():
        raise BadInput(f"data={data!r:.60} must be {EMBEDDED}, or {' or '.join(REAL)} with REAL_DATA leading to it")
    weights, yaml, imgsz = REAL[data]
    return read_recipe([f"weights={_root() / weights}", f"data={_root() / yaml}", imgsz, *alone, *words]).parts()


def read_number(key: str, text: str, /, *, least: float) -> float:
    """Return the number that `text` is.

    Raises:
        BadInput: it is none, or not in [least, MOST].
    """
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not least <= number <= MOST:
        raise BadInput(f"{key} must be a number from {least:g} to {MOST}, got {text!r:.60}")
    return number


def read_count(key: str, text: str, /, *, least: int) -> int:
    """Return the whole number that `text` is.

    Raises:
        BadInput: it is none, or not in [least, MOST].
    """
    number = read_number(key, text, least=least)
    if number != int(number):
        raise BadInput(f"{key} must be a whole number, got {text!r:.60}")
    return int(number)


def read_shares(key: str, text: str, /) -> list[float]:
    """Return the fractions that `text` gives in percent, as in "50,40".

    Raises:
        BadInput: one of them is no number from 1 to 100, or is given twice.
    """
    shares = [read_number(key, part, least=1) / 100 for part in text.split(",")]
    if max(shares) > 1 or len(set(shares)) < len(shares):
        raise BadInput(f"{key} must be different percentages from 1 to 100, got {text!r:.60}")
    return shares


def command(name: str, data: str, words: str) -> str:
    """Return what repeats the benchmark `name` on `data`."""
    where = "" if data == EMBEDDED else "REAL_DATA=../shared "
    return f"{where}python run_search.py bench {name} data={data} {words} --json"


def measured(make: Callable[[], Measure], jobs: Sequence[Job], *, workers: int) -> Iterator[Result]:
    """Yield the results of `jobs` as they come, by what `make` returns here if there is one worker, else in Ray's."""
    if workers == 1 or not jobs:
        yield from InProcess(make()).run(jobs) if jobs else ()
        return
    with ray_session.running(None, workers):
        executor = on_ray.RayExecutor(make, workers=workers, deadline_s=DEADLINE_S)
        try:
            yield from executor.run(jobs)
        finally:
            executor.close()


def fine_tuned(
    model: DetectionModel, parent: DetectionModel, train: Sequence[Sample], *, recipe: FinetuneRecipe
) -> DetectionModel:
    """Return `model` fine-tuned here, on the CPU, with nothing kept of the way."""
    with tempfile.TemporaryDirectory() as folder:
        checkpoint = Path(folder) / "checkpoint.pt"
        return finetune(model, parent, train, recipe=recipe, checkpoint=checkpoint, report=lambda _: None, device="cpu")


def _root() -> Path:
    return Path(os.environ.get("REAL_DATA", "."))
