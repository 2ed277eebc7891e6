"""What the keys `proxy` and `ladder` of a recipe may be: by what candidates are ranked.

A ladder goes from cheap fidelities to dear ones, as in block_loss:20,loss_one_shot:4, and ends with the proxy.
"""

import re
from collections.abc import Mapping, Sequence
from math import prod
from typing import NamedTuple

from pydantic import ValidationInfo

from evaluators.metric import LOSS, MAP
from evaluators.proxies.by_name import FIXED, PROXIES, seconds_of
from leaderboards.recipes.size_keys import searches_sizes
from search.strategies.by_name import STRATEGIES
from spaces.recovery.recovery import Recovery

MAX_FACTOR = 1000  # of all fidelities together: each of so many proposals takes up to 10 ms
_FIDELITY = re.compile(r"(?P<proxy>[a-z][a-z0-9_]*):(?P<factor>[1-9]\d{0,8})")


class FidelityKey(NamedTuple):
    """A fidelity as it is written."""

    proxy: str
    factor: int


def ranking(value: str) -> str:
    """Return a metric that a search can rank by."""
    if value not in PROXIES:
        raise ValueError(f"must be one of {', '.join(PROXIES)}")
    return value


def default_proxy(known: Mapping[str, object]) -> str:
    """Return mAP where rows are not trained or image sizes differ, else the loss.

    The loss tells what training will make of a network even where mAP does not (`bench proxies`).
    """
    is_final = known.get("finetune_epochs") == 0 or known.get("image_sizes") or searches_sizes(known)
    return MAP.name if is_final else LOSS.name


def reads_boxes(proxy: str, ladder: Sequence[str], /) -> bool:
    """Return whether anything that ranks candidates reads the boxes of train."""
    return any(PROXIES[name].reads_boxes for name in (proxy, *(fidelity.proxy for fidelity in read_fidelities(ladder))))


def read_fidelities(ladder: Sequence[str], /) -> tuple[FidelityKey, ...]:
    """Return the fidelities of `ladder`, each as in "block_loss:20".

    Raises:
        ValueError: one is written in another way.
    """
    fidelities = []
    for text in ladder:
        found = _FIDELITY.fullmatch(text)
        if not found:
            raise ValueError("must be steps of a proxy and how many times as many candidates as it keeps, as in "
                             "block_loss:20,loss_one_shot:4")  # fmt: skip
        fidelities.append(FidelityKey(found["proxy"], int(found["factor"])))
    return tuple(fidelities)


def ladder_of(value: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
    """Return a ladder that leads to the run's own proxy, which has to be the dearest."""
    if not value:
        return value
    fidelities = read_fidelities(value)
    for fidelity in fidelities:
        _check_fidelity(fidelity, is_in_bits=bool(info.data.get("bits")))
    if prod(fidelity.factor for fidelity in fidelities) > MAX_FACTOR:
        raise ValueError(f"must ask for at most {MAX_FACTOR} candidates for each that is measured")
    strategy = str(info.data.get("strategy"))
    if strategy in STRATEGIES and STRATEGIES[strategy].is_control:
        raise ValueError(f"chooses among many candidates, strategy={strategy} has one")
    _check_order([fidelity.proxy for fidelity in fidelities], info)
    return value


def _check_fidelity(fidelity: FidelityKey, *, is_in_bits: bool) -> None:
    if fidelity.proxy not in FIXED:
        raise ValueError(f"has no step {fidelity.proxy!r:.40}; there are {', '.join(FIXED)}")
    if fidelity.factor < 2:
        raise ValueError(
            f"must get at least 2 times as many candidates at each step as it keeps, {fidelity.proxy} has 1"
        )
    if is_in_bits and not PROXIES[fidelity.proxy].sees_bits:
        raise ValueError(f"{fidelity.proxy} does not see bits: leave out bits, or rank by loss, mAP or a distance")


def _check_order(proxies: Sequence[str], info: ValidationInfo) -> None:
    last, recovery = info.data.get("proxy"), info.data.get("recovery")
    if last is None or recovery is None:
        return  # they are at fault themselves
    steps = [*proxies, str(last)]
    seconds = [seconds_of(proxy, Recovery(recovery)) for proxy in steps]
    for place in range(1, len(steps)):
        if seconds[place - 1] >= seconds[place]:
            raise ValueError(
                f"must go from cheap to dear and end with the run's own proxy: {steps[place - 1]} takes about "
                f"{seconds[place - 1]:.2g} s a candidate, {steps[place]} after it {seconds[place]:.2g}"
            )
