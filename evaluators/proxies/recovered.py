"""mAP and task loss of a recovered candidate, and what gives the evaluator of any proxy.

Each measures on its own and no more than it needs, so that its seconds are its own; only mAP and loss of a run's own
recovery come together, as do the two distances to the parent.
"""

from pkgutil import resolve_name
from typing import Protocol

from evaluators.accuracy.detection import coco_map, predict, score, task_loss
from evaluators.data.images import Images
from evaluators.measure import Evaluator
from evaluators.proxies.by_name import LOSS_AFTER, MAP_AFTER, PROXIES
from spaces.build import Subnet
from spaces.recovery.recovery import Recovery


class MakeEvaluator(Protocol):
    """What a row of `PROXIES` names."""

    def __call__(self, images: Images, recovery: Recovery, /) -> Evaluator:
        """Return the evaluator on `images` after `recovery`; a score that has no use for one of them ignores it."""
        ...


def evaluator_of(proxy: str, images: Images, recovery: Recovery, /) -> Evaluator:
    """Return what a search by `proxy` measures of a candidate: that and no more, or it would pay for more.

    Args:
        recovery: the run's own, for the proxies that follow it.
    """
    row = PROXIES[proxy]
    make: MakeEvaluator = resolve_name(row.evaluator)
    return make(images, row.recovery or recovery)


def map_and_loss(images: Images, recovery: Recovery, /) -> Evaluator:
    """Return the evaluator of "map50_95", "map50" and "loss" on `images` after `recovery`, in one pass."""
    return lambda subnet: score(subnet.network(recovery), images, precision=subnet.builder.precision)


def map_only(images: Images, recovery: Recovery, /) -> Evaluator:
    """Return the evaluator of mAP on `images` after `recovery`."""
    name = MAP_AFTER[recovery]

    def evaluate(subnet: Subnet) -> dict[str, float]:
        found = predict(subnet.network(recovery), images, precision=subnet.builder.precision)
        return {name: coco_map(found, images).map50_95}

    return evaluate


def loss_only(images: Images, recovery: Recovery, /) -> Evaluator:
    """Return the evaluator of the task loss on `images` after `recovery`."""
    name = LOSS_AFTER[recovery]
    return lambda subnet: {name: task_loss(subnet.network(recovery), images, precision=subnet.builder.precision)}
