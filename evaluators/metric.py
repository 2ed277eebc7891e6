"""The quantities that are measured. Direction and unit belong to the metric, so no caller has to know them."""

from dataclasses import dataclass
from enum import StrEnum


class Goal(StrEnum):
    """Which way a metric gets better."""

    MAXIMISE = "maximise"
    MINIMISE = "minimise"


@dataclass(frozen=True)
class Metric:
    """A named quantity.

    Attributes:
        name: the key of its readings; a number that has a unit carries it in the name.
        unit: the unit as printed, empty for a pure number.
        goal: which way it gets better.
        title: the name as printed.
    """

    name: str
    unit: str
    goal: Goal
    title: str

    def loss(self, value: float) -> float:
        """Return `value` with the sign under which less is better."""
        return -value if self.goal is Goal.MAXIMISE else value


MACS = Metric("macs_g", "G", Goal.MINIMISE, "MACs")
PARAMS = Metric("params_m", "M", Goal.MINIMISE, "parameters")
SIZE = Metric("size_mb", "MB", Goal.MINIMISE, "size")
BOPS = Metric("bops_g", "G", Goal.MINIMISE, "BOPs")
LATENCY = Metric("latency_ms", "ms", Goal.MINIMISE, "latency")
MAP = Metric("map50_95", "", Goal.MAXIMISE, "mAP50-95")
LOSS = Metric("loss", "", Goal.MINIMISE, "task loss")

COSTS = (MACS, PARAMS, SIZE, BOPS, LATENCY)
TASK_LOSSES = ("task_loss_0", "task_loss_1", "task_loss_2")  # the parts of LOSS, in the order of the criterion
