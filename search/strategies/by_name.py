"""Every strategy that proposes by asking and telling: one row each, with what the command line has to know of it."""

from collections.abc import Mapping
from dataclasses import dataclass
from pkgutil import resolve_name
from typing import Protocol

from search.strategy import SearchSetup, Strategy


class MakeStrategy(Protocol):
    """What a row of `STRATEGIES` names."""

    def __call__(self, setup: SearchSetup, /) -> Strategy:
        """Return the strategy of `setup`."""
        ...


@dataclass(frozen=True)
class StrategyRecord:
    """One strategy.

    Attributes:
        summary: what it does, as `--help` says it.
        make: its `MakeStrategy`, as "module:function", imported when it is asked for.
        is_informed: whether its space knows what each block loses by each width.
        searches_bits: whether it proposes bits beside widths.
        is_control: whether it measures one fixed candidate and can serve no limit.
    """

    name: str
    summary: str
    make: str
    is_informed: bool = False
    searches_bits: bool = True
    is_control: bool = False


_ROWS = (
    StrategyRecord(
        "informed",
        "breeds a front by what each block is known to lose",
        "search.strategies.evolution:from_setup",
        is_informed=True,
    ),
    StrategyRecord("evolution", "NSGA-II, breeds without knowing", "search.strategies.evolution:from_setup"),
    StrategyRecord("tpe", "Optuna's sampler", "search.strategies.tpe:from_setup", searches_bits=False),
    StrategyRecord("random", "draws on the budget, as EagleEye does", "search.strategies.random_search:from_setup"),
    StrategyRecord("uniform", "keeps the same share everywhere", "search.strategies.uniform:from_setup"),
    StrategyRecord(
        "unstructured",
        "a control: sets weights to zero and cuts nothing",
        "search.strategies.unstructured:from_setup",
        is_control=True,
    ),
)
STRATEGIES: Mapping[str, StrategyRecord] = {row.name: row for row in _ROWS}


def make_strategy(name: str, setup: SearchSetup, /) -> Strategy:
    """Return the strategy called `name` for `setup`."""
    make: MakeStrategy = resolve_name(STRATEGIES[name].make)
    return make(setup)
