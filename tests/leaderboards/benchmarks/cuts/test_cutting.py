import pytest

from leaderboards.benchmarks.cuts.cutting import cutting
from leaderboards.benchmarks.cuts.networks import NETWORKS

LEAST_BLOCKS = 15  # YOLOv3-tiny, the plainest, has so many convolutions that no output needs whole
SLOW = ("yolov9t", "yolov10n", "yolo12n", "yolo26n")  # half a minute to two each
TRACED = ("yolov5n", "yolov8n", "yolo11n")  # spaces/channels/test_trace.py cuts each of their blocks
NANO = [name for name in NETWORKS if not name.endswith("s")]


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow) if name in SLOW + TRACED else name for name in NANO]
)
def test_every_block_of_every_family_is_cut_exactly_and_the_halved_network_trains(name: str) -> None:
    record = cutting(networks=name)
    (row,) = record.rows
    assert record.holds
    assert float(row["worst_error"]) <= 1e-4
    assert float(row["all_by_half_error"]) <= 1e-4
    assert row["trains"] is True
    assert int(row["blocks"]) >= LEAST_BLOCKS
    assert 0.2 < float(row["params_left"]) < 0.6  # a quarter of what lies between two cut blocks, and more elsewhere
    assert "cutting changes" not in str(row["kept_whole"])  # nothing was found wrong, only left out
