"""What the keys `proxy` and `ladder` of a recipe may be: by what candidates are ranked.

A ladder goes from cheap rungs to dear ones, as in block_loss:20,loss_one_shot:4, and ends with the proxy.
"""

import re
from collections.abc import Mapping, Sequence
from math import prod
from typing import NamedTuple

from pydantic import ValidationInfo

from evaluators.metric import LABELLED, LOSS, MAP, RANKING, SEES_BITS
from evaluators.proxies.by_name import PROXIES, seconds_of
from spaces.recovery.recovery import Recovery

MAX_FACTOR = 1000  # of all rungs together: each of so many proposals takes up to 10 ms
_RUNG = re.compile(r"(?P<proxy>[a-z][a-z0-9_]*):(?P<factor>[1-9]\d{0,8})")


class RungKey(NamedTuple):
    """A rung as it is written."""

    proxy: str
    factor: int


def ranking(value: str) -> str:
    """Return a metric that a search can rank by."""
    if value not in RANKING:
        raise ValueError(f"must be one of {', '.join(RANKING)}")
    return value


def default_proxy(known: Mapping[str, object]) -> str:
    """Return mAP where rows are not trained or image sizes differ, else the loss.

    The loss tells what training will make of a network even where mAP does not (`bench proxies`).
    """
    is_final = known.get("finetune_epochs") == 0 or known.get("image_sizes")
    return MAP.name if is_final else LOSS.name


def reads_boxes(proxy: str, ladder: Sequence[str], /) -> bool:
    """Return whether anything that ranks candidates reads the boxes of train."""
    return not LABELLED.isdisjoint({proxy, *(rung.proxy for rung in read_rungs(ladder))})


def read_rungs(ladder: Sequence[str], /) -> tuple[RungKey, ...]:
    """Return the rungs of `ladder`, each as in "block_loss:20".

    Raises:
        ValueError: one is written in another way.
    """
    rungs = []
    for text in ladder:
        found = _RUNG.fullmatch(text)
        if not found:
            raise ValueError("must be rungs of a proxy and how many times as many candidates as it keeps, as in "
                             "block_loss:20,loss_one_shot:4")  # fmt: skip
        rungs.append(RungKey(found["proxy"], int(found["factor"])))
    return tuple(rungs)


def ladder_of(value: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
    """Return a ladder that leads to the run's own proxy, which has to be the dearest."""
    if not value:
        return value
    rungs = read_rungs(value)
    for rung in rungs:
        _check_rung(rung, is_in_bits=bool(info.data.get("bits")))
    if prod(rung.factor for rung in rungs) > MAX_FACTOR:
        raise ValueError(f"must ask for at most {MAX_FACTOR} candidates for each that is measured")
    if info.data.get("strategy") == "unstructured":
        raise ValueError("chooses among many candidates, strategy=unstructured has one")
    _check_order([rung.proxy for rung in rungs], info)
    return value


def _check_rung(rung: RungKey, *, is_in_bits: bool) -> None:
    if rung.proxy not in PROXIES:
        known = ", ".join(name for name in RANKING if name in PROXIES)
        raise ValueError(f"has no rung {rung.proxy!r:.40}; there are {known}")
    if rung.factor < 2:
        raise ValueError(f"must get at least 2 times as many candidates at each rung as it keeps, {rung.proxy} has 1")
    if is_in_bits and rung.proxy not in SEES_BITS:
        raise ValueError(f"{rung.proxy} does not see bits: leave out bits, or rank by loss, mAP or a distance")


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
