"""Untrained detectors whose every channel matters, so that a wrong cut cannot go unseen, and their graphs."""

from functools import cache

from ultralytics.cfg import get_cfg
from ultralytics.nn.tasks import DetectionModel

from leaderboards.benchmarks.cuts.networks import untrained
from spaces.channels.graph import ChannelGraph
from spaces.channels.trace import trace_channels
from spaces.importance.from_weights import l1
from spaces.study import Study


@cache
def detector(name: str = "yolov5n", *, n_classes: int = 10) -> DetectionModel:
    """Return an Ultralytics detector with random weights, the statistics that go with them, names and loss gains."""
    model = untrained(name, n_classes=n_classes)
    model.names = {index: f"class {index}" for index in range(n_classes)}
    model.args = get_cfg()
    return model


@cache
def graph_of(name: str = "yolov5n", *, imgsz: int = 64) -> ChannelGraph:
    """Return the channel graph of `detector(name)`."""
    return trace_channels(detector(name), imgsz=imgsz)


def study_without_images(model: DetectionModel, graph: ChannelGraph) -> Study:
    """Return the L1 scores and nothing else, in no time: enough for cutting and for adaptive BatchNorm."""
    return Study(l1(model.state_dict(), graph), losses=(), places={}, sensitivity={})
