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
PROXIES = (
    Metric("map_vanilla", "", Goal.MAXIMISE, "mAP50-95 as cut"),
    Metric("map_adaptive_bn", "", Goal.MAXIMISE, "mAP50-95 after adaptive BatchNorm"),
    Metric("map_one_shot", "", Goal.MAXIMISE, "mAP50-95 after one-shot reconstruction"),
    Metric("map_sequential", "", Goal.MAXIMISE, "mAP50-95 after sequential reconstruction"),
    Metric("loss_vanilla", "", Goal.MINIMISE, "task loss as cut"),
    Metric("loss_adaptive_bn", "", Goal.MINIMISE, "task loss after adaptive BatchNorm"),
    Metric("loss_one_shot", "", Goal.MINIMISE, "task loss after one-shot reconstruction"),
    Metric("loss_sequential", "", Goal.MINIMISE, "task loss after sequential reconstruction"),
    Metric("feature_distance_one_shot", "", Goal.MINIMISE, "feature distance after one-shot reconstruction"),
    Metric("feature_distance_sequential", "", Goal.MINIMISE, "feature distance after sequential reconstruction"),
    Metric("output_distance_one_shot", "", Goal.MINIMISE, "output distance after one-shot reconstruction"),
    Metric("output_distance_sequential", "", Goal.MINIMISE, "output distance after sequential reconstruction"),
    Metric("reconstruction_loss", "", Goal.MINIMISE, "closed-form reconstruction loss"),
    Metric("block_loss", "", Goal.MINIMISE, "sum of the blocks' losses"),
    Metric("kept_l1", "", Goal.MAXIMISE, "kept L1 mass"),
    Metric("kept_contribution", "", Goal.MAXIMISE, "kept contribution"),
    Metric("kept_taylor", "", Goal.MAXIMISE, "kept Taylor mass"),
    Metric("kept_fisher", "", Goal.MAXIMISE, "kept Fisher mass"),
    Metric("synflow", "", Goal.MAXIMISE, "SynFlow"),
    Metric("naswot", "", Goal.MAXIMISE, "NASWOT"),
    Metric("zen", "", Goal.MAXIMISE, "Zen score"),
)
METRICS = {metric.name: metric for metric in (*COSTS, MAP, LOSS, *PROXIES)}
LABELLED = frozenset(name for name in METRICS if name.startswith(("map", "loss")))  # need boxes to be measured
SEES_BITS = frozenset(name for name in METRICS if name.startswith(("map", "loss", "feature", "output", "naswot")))
RANKING = tuple(name for name, metric in METRICS.items() if metric not in COSTS)  # what a search may rank by
TASK_LOSSES = ("task_loss_0", "task_loss_1", "task_loss_2")  # the parts of LOSS, in the order of the criterion
