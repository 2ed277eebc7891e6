"""What the keys of a recipe that are about bits may be."""

from collections.abc import Mapping, Sequence

from pydantic import ValidationInfo

from evaluators.proxies.by_name import PROXIES
from spaces.bits.layer_bits import ACTIVATION_BITS, WEIGHT_BITS

DEFAULT_ACTIVATION_BITS = (8,)
BIT_LISTS = ("bits", "activation_bits")


def check_weight_bits(value: tuple[int, ...]) -> tuple[int, ...]:
    """Return the weight bits of a search; none where layers stay in float32."""
    return _some_of(WEIGHT_BITS, value)


def check_activation_bits(value: tuple[int, ...], info: ValidationInfo) -> tuple[int, ...]:
    """Return the bits of what layers read."""
    if value and not info.data.get("bits"):
        raise ValueError("needs bits=, the bits of weights, as in bits=4,6,8")
    if not value and info.data.get("bits"):
        raise ValueError(f"must be some of {_listed(ACTIVATION_BITS)}, each once")
    return _some_of(ACTIVATION_BITS, value)


def default_activation_bits(known: Mapping[str, object]) -> tuple[int, ...]:
    """Return 8 where weights have bits."""
    return DEFAULT_ACTIVATION_BITS if known.get("bits") else ()


def check_seeing(value: str, info: ValidationInfo) -> str:
    """Return a proxy that tells one choice of bits from another, if there are any."""
    if info.data.get("bits") and not PROXIES[value].sees_bits:
        raise ValueError("does not see bits: leave out bits, or rank by loss, mAP or a distance to the parent")
    return value


def is_given_empty(key: str, value: object) -> bool:
    """Return whether `key` is one of these lists and is given, but with nothing in it."""
    return key in BIT_LISTS and not value


def _some_of(allowed: Sequence[int], value: tuple[int, ...]) -> tuple[int, ...]:
    if len(set(value)) < len(value) or not set(value) <= set(allowed):
        raise ValueError(f"must be some of {_listed(allowed)}, each once")
    return tuple(sorted(value))


def _listed(bits: Sequence[int]) -> str:
    return ", ".join(map(str, bits))
