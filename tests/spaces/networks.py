"""Untrained detectors whose every channel matters, so that a wrong cut cannot go unseen."""

from functools import cache

from ultralytics.cfg import get_cfg
from ultralytics.nn.tasks import DetectionModel

from leaderboards.benchmarks.networks import untrained


@cache
def detector(name: str = "yolov5n", *, n_classes: int = 10) -> DetectionModel:
    """Return an Ultralytics detector with random weights, the statistics that go with them, names and loss gains."""
    model = untrained(name, n_classes=n_classes)
    model.names = {index: f"class {index}" for index in range(n_classes)}
    model.args = get_cfg()
    return model
