"""The limits of a recipe in absolute numbers, and whether any candidate can meet them."""

import math
from collections.abc import Iterable, Mapping

from leaderboards.recipes.size_keys import OF_WORK
from spaces.bits.bit_space import BitSpace
from spaces.bits.layer_bits import FLOAT_BITS
from spaces.errors import OutOfReach
from spaces.space import Space

SHARE_OF_A_LATENCY = 0.25  # half of the image's side
FLOAT_BOPS = FLOAT_BITS**2  # of a MAC without bits
_FLOPS = {"gflops": ("macs_g", 2.0)}
_BOPS = {"bops_g": ("macs_g", float(FLOAT_BOPS))}


def resolve(amounts: Mapping[str, str], parent_costs: Mapping[str, float], /, *, has_bits: bool) -> dict[str, float]:
    """Return the limits by metric name in absolute numbers; of two on the same metric the tighter holds.

    Without bits BOPs are another unit of MACs, as FLOPs are.

    Args:
        amounts: by key, as written: "1.5" or "60%".
    """
    limits: dict[str, float] = {}
    for key, amount in amounts.items():
        name, scale = _metric(key, has_bits=has_bits)
        is_share = amount.endswith("%")
        limit = parent_costs[name] * float(amount[:-1]) / 100 if is_share else float(amount) / scale
        limits[name] = min(limit, limits.get(name, limit))
    return limits


def share_of_work(amounts: Mapping[str, str], parent_costs: Mapping[str, float], /, *, has_bits: bool) -> float:
    """Return what share of the parent's work the tightest of the limits on it allows, 1.0 where none is below it.

    Work is MACs, and BOPs and latency, which are taken to follow them. A latency in milliseconds stands for a fixed
    share: the parent's is measured anew when a run is resumed, and what is searched must not depend on that.
    """
    shares = [1.0]
    for key in (key for key in OF_WORK if key in amounts):
        if key == "latency_ms" and not amounts[key].endswith("%"):
            shares.append(SHARE_OF_A_LATENCY)
        else:
            limits = resolve({key: amounts[key]}, parent_costs, has_bits=has_bits)
            shares += [limit / parent_costs[name] for name, limit in limits.items()]
    return min(shares)


def reach_of(spaces: Iterable[Space | BitSpace], /) -> dict[str, tuple[float, float]]:
    """Return the smallest value of each cost in any of `spaces`, and the largest of the first, which is the parent."""
    every = [space.reach() for space in spaces]
    return {name: (min(reach[name][0] for reach in every), high) for name, (_, high) in every[0].items()}


def check_reach(
    amounts: Mapping[str, str], spaces: Iterable[Space | BitSpace], /, *, keys: Iterable[str], has_bits: bool
) -> None:
    """Make sure that those of the limits `amounts` that are named in `keys` can be met.

    Raises:
        OutOfReach: one cannot; the message gives the interval in the key's own unit and in percent.
    """
    reach = reach_of(spaces)
    for key in (key for key in keys if key in amounts):
        name, scale = _metric(key, has_bits=has_bits)
        low, high = reach[name]
        limit = resolve({key: amounts[key]}, {name: high}, has_bits=has_bits)
        if any(value < low for value in limit.values()):
            raise OutOfReach(
                f"{key}={amounts[key]} is out of reach: it goes from {scale * low:.4g} "
                f"({math.ceil(1000 * low / high) / 10:.1f}% of the parent) to {scale * high:.4g}"
            )


def _metric(key: str, *, has_bits: bool) -> tuple[str, float]:
    """Return the metric that `key` limits, and by what a value of it is multiplied to be in the key's own unit."""
    units = _FLOPS if has_bits else {**_FLOPS, **_BOPS}
    return units.get(key, (key, 1.0))
