"""A point of the space: what would be built, never a live network."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Self

from spaces.errors import BadInput

WEIGHT_BITS_SUFFIX, ACTIVATION_BITS_SUFFIX, MASK_PREFIX = ".weight_bits", ".activation_bits", "mask."


@dataclass(frozen=True)
class Candidate:
    """The genes that depart from the parent, by name.

    Attributes:
        base: the network that is pruned: "same" for the user's own, else the name of its backbone.
        picks: (gene, value) pairs in the order of the names; a gene that keeps the parent's value is left out,
            so the parent itself is `Candidate("same", ())`. Beside keep counts there may be bits of layers and a mask,
            which the ends of their names tell apart.
    """

    base: str
    picks: tuple[tuple[str, int], ...]

    @cached_property
    def id(self) -> str:
        """The first ten hexadecimal digits of the SHA-256 of the canonical JSON."""
        return hashlib.sha256(json.dumps(self.to_json(), separators=(",", ":")).encode()).hexdigest()[:10]

    @property
    def widths(self) -> tuple[tuple[str, int], ...]:
        """The picks that are keep counts."""
        return tuple((name, value) for name, value in self.picks if not _is_other(name))

    def to_json(self) -> dict[str, object]:
        """Return the JSON form, canonical: equal candidates give equal text."""
        return {"base": self.base, "picks": dict(self.picks)}

    @classmethod
    def from_json(cls, record: Mapping[str, object]) -> Self:
        """Return the candidate that `to_json` described.

        Raises:
            BadInput: the record has another shape.
        """
        base, picks = record.get("base"), record.get("picks")
        if not isinstance(base, str) or not isinstance(picks, dict):
            raise BadInput(f"a candidate must have a base and picks, got {record!r:.80}")
        if not all(isinstance(name, str) and type(value) is int for name, value in picks.items()):
            raise BadInput(f"picks must map gene names to integers, got {picks!r:.80}")
        return cls(base, tuple(sorted(picks.items())))


def _is_other(name: str) -> bool:
    return name.endswith((WEIGHT_BITS_SUFFIX, ACTIVATION_BITS_SUFFIX)) or name.startswith(MASK_PREFIX)
