"""A base: one network that can be cut, with the space of its sub-networks; a run may search across several."""

from dataclasses import dataclass

from ultralytics.nn.tasks import DetectionModel

from spaces.bits.bit_space import costs_of
from spaces.bits.layer_bits import BitTable
from spaces.candidate import Candidate
from spaces.channels.graph import ChannelGraph
from spaces.space import Space


@dataclass(frozen=True, eq=False)
class Base:
    """One network that can be cut.

    Attributes:
        graph: for images of `imgsz` pixels.
        table: the bits that its layers may have; None where they stay in float32.
    """

    name: str
    network: DetectionModel
    graph: ChannelGraph
    space: Space
    imgsz: int
    table: BitTable | None = None

    def costs(self, candidate: Candidate, /) -> dict[str, float]:
        """Return the arithmetic costs of `candidate`, with bits BOPs among them."""
        return self.space.costs(candidate) if self.table is None else costs_of(self.space, self.table, candidate)
