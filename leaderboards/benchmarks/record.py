"""What every benchmark returns."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

Cell = str | float | bool


@dataclass(frozen=True)
class Record:
    """One benchmark's outcome.

    Attributes:
        metric: what `value` is, with its unit.
        value: the figure that is held against the target.
        target: the goal in words, as "at most 1e-4".
        holds: whether it is met.
        rows: the table behind it; every row has the same keys.
        environment: the machine and the versions.
        command: what repeats it.
    """

    name: str
    metric: str
    value: float
    target: str
    holds: bool
    rows: Sequence[Mapping[str, Cell]]
    environment: Mapping[str, str]
    command: str

    def to_json(self) -> dict[str, object]:
        """Return the JSON form."""
        return asdict(self)
