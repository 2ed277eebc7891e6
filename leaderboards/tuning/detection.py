"""What mAP does not tell of a row: how it does at one score threshold, and in each class."""

import copy
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from ultralytics.nn.tasks import DetectionModel

from evaluators.accuracy.detection import CocoMap, predict
from evaluators.accuracy.operating_point import best_f1, recall_at
from evaluators.data.dataset import Sample
from evaluators.data.images import Images, load_images
from leaderboards.detection_metrics import DetectionMetrics
from spaces.files import write_atomic


def parent_threshold(parent: DetectionModel, val: Sequence[Sample], path: Path, /, *, imgsz: int, device: str) -> float:
    """Return the score threshold of the best F1 of `parent` on `val`, found once for all rows and kept at `path`."""
    if not path.exists():
        images = load_images(val, imgsz=imgsz)
        point = best_f1(predict(copy.deepcopy(parent).to(device), images), images)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(path, json.dumps(point.threshold))
    return float(json.loads(path.read_text(encoding="utf-8")))


def measure_detection(
    found: Sequence[NDArray[np.float32]],
    val: Images,
    quality: CocoMap,
    /,
    *,
    names: Mapping[int, str],
    threshold: float,
) -> DetectionMetrics:
    """Return the detection metrics of what one file has `found` on `val`.

    Args:
        quality: its mAP.
        names: of the classes.
        threshold: the parent's.
    """
    point = best_f1(found, val)
    return DetectionMetrics(
        f1_threshold=point.threshold,
        f1=point.f1,
        precision=point.precision,
        recall=point.recall,
        recall_at_parent_threshold=recall_at(found, val, threshold=threshold),
        class_map50_95={_label(kind, names): value for kind, value in quality.per_class.items()},
    )


def _label(kind: int, names: Mapping[int, str]) -> str:
    is_shared = list(names.values()).count(names[kind]) > 1
    return f"{kind} {names[kind]}" if is_shared else names[kind]
