"""What is searched, on what, under which limits."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ultralytics.nn.tasks import DetectionModel

from evaluators.budget import Budget
from evaluators.data.dataset import Dataset
from evaluators.data.holdout import Holdout
from evaluators.devices.device_file import DeviceFile
from leaderboards.recipes.limits import reach_of
from leaderboards.runs.bases import BasePlan
from leaderboards.runs.rivals import Rival, notes_on
from spaces.bases.base import Base
from spaces.bases.names import SAME
from spaces.bits.bit_space import BitSpace
from spaces.bits.layer_bits import BitTable
from spaces.candidate import Candidate
from spaces.channels.graph import ChannelGraph
from spaces.detectors.detector import Architecture
from spaces.space import Space


@dataclass(frozen=True, eq=False)
class Inputs:
    """What a recipe names, loaded and checked.

    Attributes:
        holdout: train in two parts, of which the search ranks on the first.
        weights: what the recipe calls the parent's, as messages name them.
        fingerprint: of the weights' content, 16 hexadecimal digits.
        rivals: other detectors, by the names of their rows.
        device: what predicts latencies; None where they are measured.
    """

    dataset: Dataset
    holdout: Holdout
    parent: DetectionModel
    architecture: Architecture
    weights: str
    fingerprint: str
    device: DeviceFile | None = None
    rivals: Mapping[str, Rival] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Problem:
    """What is searched, on what, under which limits.

    Attributes:
        plans: the bases before they are made.
        bases: by name, "same" first; another backbone is not trained yet.
        limits: upper limits by metric name, percentages resolved.
        parent_costs: the parent's own value of every limited metric and of every arithmetic cost.
        rivals: other detectors as bases, at the run's image size, by the names of their rows.
    """

    inputs: Inputs
    plans: Sequence[BasePlan]
    bases: Mapping[str, Base]
    limits: Mapping[str, float]
    parent_costs: Mapping[str, float]
    rivals: Mapping[str, Base] = field(default_factory=dict)

    @property
    def budget(self) -> Budget:
        """The limits as a budget."""
        return Budget(self.limits)

    @property
    def has_bits(self) -> bool:
        """Whether layers may have bits."""
        return self.bases[SAME].table is not None

    @property
    def graph(self) -> ChannelGraph:
        """What can be cut out of the user's own network."""
        return self.bases[SAME].graph

    @property
    def space(self) -> Space:
        """The sub-networks of the user's own network."""
        return self.bases[SAME].space

    def reach(self) -> dict[str, tuple[float, float]]:
        """Return the smallest value of each cost in any base, and the parent's."""
        return reach_of([searched(base.space, base.table) for base in self.bases.values()])

    def costs(self, candidate: Candidate, /) -> dict[str, float]:
        """Return the arithmetic costs of `candidate`."""
        return self.bases[candidate.base].costs(candidate)

    def notes(self) -> list[str]:
        """Return what is worth knowing about the data, the parent and the space, a sentence each."""
        dataset, holdout = self.inputs.dataset, self.inputs.holdout
        whole = ", ".join(f"{name} ({why})" for name, why in self.graph.kept_whole.items())
        ends = "; ".join(f"{name} {low:.4g} to {high:.4g}" for name, (low, high) in self.reach().items())
        return [
            f"{len(dataset.train)} images to train, {len(holdout.search)} of which rank the candidates; "
            f"{len(dataset.val)} in the sealed val split; {len(dataset.names)} classes.",
            f"{len(self.graph.blocks)} blocks can be cut. Kept whole: {whole}.",
            *([f"Searched across {len(self.bases)} bases: {', '.join(self.bases)}."] if len(self.bases) > 1 else []),
            f"The space reaches {ends}.",
            *dataset.warnings,
            *notes_on(self.inputs.rivals),
            *self._notes_on_device(),
        ]

    def _notes_on_device(self) -> list[str]:
        device = self.inputs.device
        if device is None:
            return []
        said = (
            f"Latencies of the search are predicted from {device.n_networks} sub-networks timed on {device.machine}; "
            f"its sentinel drifted by {device.drift:.0%} meanwhile."
        )
        return [said, *([warning] if (warning := device.foreign()) else [])]


def searched(space: Space, table: BitTable | None) -> Space | BitSpace:
    """Return the space of the widths, or that of widths and bits."""
    return space if table is None else BitSpace(space, space, table)


def fingerprint(path: Path) -> str:
    """Return 16 hexadecimal digits that stand for the content of a weights file, or of a folder of ours."""
    content = path / "model.safetensors" if path.is_dir() else path
    return hashlib.sha256(content.read_bytes()).hexdigest()[:16]
