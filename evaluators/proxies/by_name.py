"""Every score that a search can rank by: one row each, from which its metric, its needs and its costs are read.

What measures is named as "module:function" and imported when it is asked for, so the command line knows all of this
without torch. A row is all that a new score needs besides its own file.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from evaluators.metric import COSTS, LOSS, MAP, Goal, Metric
from spaces.recovery.recovery import Recovery


@dataclass(frozen=True)
class Proxy:
    """One score of a candidate.

    Attributes:
        evaluator: the `MakeEvaluator` of this score, as "module:function".
        seconds: what it costs for a candidate (`bench proxies`, digits at half the MACs, one core): for order alone.
        recovery: what is done to the network before it is looked at; None where nothing is, or where the run says.
        follows_run: whether that is the run's own recovery; its seconds are then those of `of_kind` after it.
        of_kind: the names of the same score after a fixed recovery.
        reads_boxes: whether it needs labelled images.
        sees_bits: whether it tells one choice of bits from another.
        builds_network: whether it looks at a network at all; else it is arithmetic on what the study says.
    """

    metric: Metric
    evaluator: str
    seconds: float
    recovery: Recovery | None = None
    follows_run: bool = False
    of_kind: Mapping[Recovery, str] | None = None
    reads_boxes: bool = False
    sees_bits: bool = False
    builds_network: bool = True

    @property
    def name(self) -> str:
        """The key of its readings."""
        return self.metric.name


MAP_AFTER = {
    Recovery.NOTHING: "map_vanilla",
    Recovery.ADAPTIVE_BN: "map_adaptive_bn",
    Recovery.ONE_SHOT: "map_one_shot",
    Recovery.RECONSTRUCT: "map_sequential",
}
LOSS_AFTER = {recovery: name.replace("map", "loss") for recovery, name in MAP_AFTER.items()}

_ROWS = (
    Proxy(
        MAP,
        "evaluators.proxies.recovered:map_and_loss",
        seconds=1.83,
        follows_run=True,
        of_kind=MAP_AFTER,
        reads_boxes=True,
        sees_bits=True,
    ),
    Proxy(
        LOSS,
        "evaluators.proxies.recovered:map_and_loss",
        seconds=1.83,
        follows_run=True,
        of_kind=LOSS_AFTER,
        reads_boxes=True,
        sees_bits=True,
    ),
    Proxy(
        Metric("map_vanilla", "", Goal.MAXIMISE, "mAP50-95 as cut"),
        "evaluators.proxies.recovered:map_only",
        seconds=0.41,
        recovery=Recovery.NOTHING,
        reads_boxes=True,
        sees_bits=True,
    ),
    Proxy(
        Metric("map_adaptive_bn", "", Goal.MAXIMISE, "mAP50-95 after adaptive BatchNorm"),
        "evaluators.proxies.recovered:map_only",
        seconds=0.75,
        recovery=Recovery.ADAPTIVE_BN,
        reads_boxes=True,
        sees_bits=True,
    ),
    Proxy(
        Metric("map_one_shot", "", Goal.MAXIMISE, "mAP50-95 after one-shot reconstruction"),
        "evaluators.proxies.recovered:map_only",
        seconds=0.92,
        recovery=Recovery.ONE_SHOT,
        reads_boxes=True,
        sees_bits=True,
    ),
    Proxy(
        Metric("map_sequential", "", Goal.MAXIMISE, "mAP50-95 after sequential reconstruction"),
        "evaluators.proxies.recovered:map_only",
        seconds=1.83,
        recovery=Recovery.RECONSTRUCT,
        reads_boxes=True,
        sees_bits=True,
    ),
    Proxy(
        Metric("loss_vanilla", "", Goal.MINIMISE, "task loss as cut"),
        "evaluators.proxies.recovered:loss_only",
        seconds=0.39,
        recovery=Recovery.NOTHING,
        reads_boxes=True,
        sees_bits=True,
    ),
    Proxy(
        Metric("loss_adaptive_bn", "", Goal.MINIMISE, "task loss after adaptive BatchNorm"),
        "evaluators.proxies.recovered:loss_only",
        seconds=0.71,
        recovery=Recovery.ADAPTIVE_BN,
        reads_boxes=True,
        sees_bits=True,
    ),
    Proxy(
        Metric("loss_one_shot", "", Goal.MINIMISE, "task loss after one-shot reconstruction"),
        "evaluators.proxies.recovered:loss_only",
        seconds=0.9,
        recovery=Recovery.ONE_SHOT,
        reads_boxes=True,
        sees_bits=True,
    ),
    Proxy(
        Metric("loss_sequential", "", Goal.MINIMISE, "task loss after sequential reconstruction"),
        "evaluators.proxies.recovered:loss_only",
        seconds=1.83,
        recovery=Recovery.RECONSTRUCT,
        reads_boxes=True,
        sees_bits=True,
    ),
    Proxy(
        Metric("feature_distance_one_shot", "", Goal.MINIMISE, "feature distance after one-shot reconstruction"),
        "evaluators.proxies.distance:to_parent",
        seconds=0.96,
        recovery=Recovery.ONE_SHOT,
        sees_bits=True,
    ),
    Proxy(
        Metric("feature_distance_sequential", "", Goal.MINIMISE, "feature distance after sequential reconstruction"),
        "evaluators.proxies.distance:to_parent",
        seconds=1.78,
        recovery=Recovery.RECONSTRUCT,
        sees_bits=True,
    ),
    Proxy(
        Metric("output_distance_one_shot", "", Goal.MINIMISE, "output distance after one-shot reconstruction"),
        "evaluators.proxies.distance:to_parent",
        seconds=0.96,
        recovery=Recovery.ONE_SHOT,
        sees_bits=True,
    ),
    Proxy(
        Metric("output_distance_sequential", "", Goal.MINIMISE, "output distance after sequential reconstruction"),
        "evaluators.proxies.distance:to_parent",
        seconds=1.74,
        recovery=Recovery.RECONSTRUCT,
        sees_bits=True,
    ),
    Proxy(
        Metric("reconstruction_loss", "", Goal.MINIMISE, "closed-form reconstruction loss"),
        "evaluators.proxies.closed_form:reconstruction_loss",
        seconds=0.16,
    ),
    Proxy(
        Metric("block_loss", "", Goal.MINIMISE, "sum of the blocks' losses"),
        "evaluators.proxies.closed_form:block_loss",
        seconds=0.0003,
        builds_network=False,
    ),
    Proxy(
        Metric("kept_l1", "", Goal.MAXIMISE, "kept L1 mass"),
        "evaluators.proxies.closed_form:kept_l1",
        seconds=0.0011,
        builds_network=False,
    ),
    Proxy(
        Metric("kept_contribution", "", Goal.MAXIMISE, "kept contribution"),
        "evaluators.proxies.closed_form:kept_contribution",
        seconds=0.0009,
        builds_network=False,
    ),
    Proxy(
        Metric("kept_taylor", "", Goal.MAXIMISE, "kept Taylor mass"),
        "evaluators.proxies.closed_form:kept_taylor",
        seconds=0.0008,
        builds_network=False,
    ),
    Proxy(
        Metric("kept_fisher", "", Goal.MAXIMISE, "kept Fisher mass"),
        "evaluators.proxies.closed_form:kept_fisher",
        seconds=0.0008,
        builds_network=False,
    ),
    Proxy(
        Metric("synflow", "", Goal.MAXIMISE, "SynFlow"),
        "evaluators.proxies.zero_cost:synflow",
        seconds=0.13,
    ),
    Proxy(
        Metric("naswot", "", Goal.MAXIMISE, "NASWOT"),
        "evaluators.proxies.zero_cost:naswot",
        seconds=0.35,
        sees_bits=True,
    ),
    Proxy(
        Metric("zen", "", Goal.MAXIMISE, "Zen score"),
        "evaluators.proxies.zero_cost:zen",
        seconds=0.42,
    ),
)
PROXIES: Mapping[str, Proxy] = {row.name: row for row in _ROWS}
FIXED = tuple(row.name for row in _ROWS if not row.follows_run)  # the same in whatever run
METRICS: Mapping[str, Metric] = {metric.name: metric for metric in (*COSTS, *(row.metric for row in _ROWS))}


def seconds_of(proxy: str, recovery: Recovery, /) -> float:
    """Return about what `proxy` costs for a candidate in a run of `recovery`."""
    row = PROXIES[proxy]
    return row.seconds if row.of_kind is None else PROXIES[row.of_kind[recovery]].seconds
