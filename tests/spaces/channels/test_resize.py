import pytest

from spaces.channels.resize import resize
from spaces.channels.trace import trace_channels
from tests.spaces.untrained import detector, graph_of


@pytest.mark.parametrize("name", ["yolov5n", pytest.param("yolov9t", marks=pytest.mark.slow), "yolo11n", "yolo26n"])
def test_it_is_what_tracing_at_that_size_finds(name: str) -> None:
    model = detector(name)
    traced, resized = trace_channels(model, imgsz=96), resize(graph_of(name), model, imgsz=96)
    assert resized.layers == traced.layers
    assert resized.other_macs == traced.other_macs
    assert resized.blocks == traced.blocks
