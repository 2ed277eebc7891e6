"""Every score that a search can rank by: literally one dict, from the name to what makes its evaluator.

Each measures on its own and no more than it needs, so that its seconds are its own; only the two distances come
together.
"""

from collections.abc import Callable, Mapping

from evaluators.accuracy.detection import coco_map, predict, score, task_loss
from evaluators.data.images import Images
from evaluators.measure import Evaluator
from evaluators.metric import LOSS, MAP
from evaluators.proxies.closed_form import block_loss, kept_mass, mean_share, reconstruction_loss, total_share
from evaluators.proxies.distance import distances
from evaluators.proxies.zero_cost import naswot, synflow, zen
from spaces.build import Subnet
from spaces.importance.by_name import Importance
from spaces.recovery.recovery import Recovery

SUFFIXES = {
    Recovery.NOTHING: "vanilla",
    Recovery.ADAPTIVE_BN: "adaptive_bn",
    Recovery.ONE_SHOT: "one_shot",
    Recovery.RECONSTRUCT: "sequential",
}


def map_only(images: Images, recovery: Recovery, /) -> Evaluator:
    """Return the evaluator of mAP on `images` after `recovery`."""
    name = f"map_{SUFFIXES[recovery]}"

    def evaluate(subnet: Subnet) -> dict[str, float]:
        found = predict(subnet.network(recovery), images, precision=subnet.builder.precision)
        return {name: coco_map(found, images).map50_95}

    return evaluate


def loss_only(images: Images, recovery: Recovery, /) -> Evaluator:
    """Return the evaluator of the task loss on `images` after `recovery`."""
    name = f"loss_{SUFFIXES[recovery]}"
    return lambda subnet: {name: task_loss(subnet.network(recovery), images, precision=subnet.builder.precision)}


def distance_to_parent(images: Images, recovery: Recovery, /) -> Evaluator:
    """Return the evaluator of the feature distance and the output distance on `images` after `recovery`."""
    feature, output = (f"{kind}_distance_{SUFFIXES[recovery]}" for kind in ("feature", "output"))
    return distances(images, recovery, (feature, output))


PROXIES: Mapping[str, Callable[[Images], Evaluator]] = {
    "map_vanilla": lambda images: map_only(images, Recovery.NOTHING),
    "map_adaptive_bn": lambda images: map_only(images, Recovery.ADAPTIVE_BN),
    "map_one_shot": lambda images: map_only(images, Recovery.ONE_SHOT),
    "map_sequential": lambda images: map_only(images, Recovery.RECONSTRUCT),
    "loss_vanilla": lambda images: loss_only(images, Recovery.NOTHING),
    "loss_adaptive_bn": lambda images: loss_only(images, Recovery.ADAPTIVE_BN),
    "loss_one_shot": lambda images: loss_only(images, Recovery.ONE_SHOT),
    "loss_sequential": lambda images: loss_only(images, Recovery.RECONSTRUCT),
    "feature_distance_one_shot": lambda images: distance_to_parent(images, Recovery.ONE_SHOT),
    "feature_distance_sequential": lambda images: distance_to_parent(images, Recovery.RECONSTRUCT),
    "output_distance_one_shot": lambda images: distance_to_parent(images, Recovery.ONE_SHOT),
    "output_distance_sequential": lambda images: distance_to_parent(images, Recovery.RECONSTRUCT),
    "reconstruction_loss": lambda _: reconstruction_loss(),
    "block_loss": lambda _: block_loss,
    "kept_l1": lambda _: kept_mass("kept_l1", Importance.L1, mean_share),
    "kept_contribution": lambda _: kept_mass("kept_contribution", Importance.CONTRIBUTION, mean_share),
    "kept_taylor": lambda _: kept_mass("kept_taylor", Importance.TAYLOR, total_share),
    "kept_fisher": lambda _: kept_mass("kept_fisher", Importance.FISHER, total_share),
    "synflow": lambda _: synflow,
    "naswot": lambda _: naswot,
    "zen": lambda _: zen,
}


SECONDS: Mapping[str, float] = {
    "block_loss": 0.0003,
    "kept_taylor": 0.0008,
    "kept_fisher": 0.0008,
    "kept_contribution": 0.0009,
    "kept_l1": 0.0011,
    "synflow": 0.13,
    "reconstruction_loss": 0.16,
    "naswot": 0.35,
    "loss_vanilla": 0.39,
    "map_vanilla": 0.41,
    "zen": 0.42,
    "loss_adaptive_bn": 0.71,
    "map_adaptive_bn": 0.75,
    "loss_one_shot": 0.90,
    "map_one_shot": 0.92,
    "feature_distance_one_shot": 0.96,
    "output_distance_one_shot": 0.96,
    "output_distance_sequential": 1.74,
    "feature_distance_sequential": 1.78,
    "loss_sequential": 1.83,
    "map_sequential": 1.83,
}
"""What each costs for a candidate (`bench proxies`, digits at half the MACs, one core): for their order alone."""
ARITHMETIC = frozenset(name for name, seconds in SECONDS.items() if seconds < 0.01)  # of what the study says


def seconds_of(proxy: str, recovery: Recovery, /) -> float:
    """Return about what `proxy` costs for a candidate, "map50_95" and "loss" after `recovery`."""
    kind = {MAP.name: "map", LOSS.name: "loss"}.get(proxy)
    return SECONDS[proxy if kind is None else f"{kind}_{SUFFIXES[recovery]}"]


def evaluator_of(proxy: str, images: Images, recovery: Recovery, /) -> Evaluator:
    """Return what a search by `proxy` measures of a candidate: that and no more, or it would pay for more.

    "map50_95" and "loss" come together, on `images` after the run's own `recovery`.
    """
    if proxy in PROXIES:
        return PROXIES[proxy](images)
    return lambda subnet: score(subnet.network(recovery), images, precision=subnet.builder.precision)
