"""The small frozen parts that a recipe is split into: each holds what one piece of the engine reads, and no more.

The flat keys stay at the door. What works below takes one of these, or the two or three values that it reads.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from evaluators.runtimes.precision import Int8
from leaderboards.recipes.ranking_keys import FidelityKey
from spaces.bases.names import DepthImportance
from spaces.candidate import Candidate
from spaces.importance.by_name import Importance
from spaces.networks.compute_dtype import ComputeDtype
from spaces.recovery.recovery import Recovery


@dataclass(frozen=True)
class Place:
    """Where a run happens, which changes nothing of what it is.

    Attributes:
        device: in torch's words, "cpu" or "cuda:0".
    """

    folder: Path
    workers: int
    ray_address: str | None
    device: str

    @property
    def is_here(self) -> bool:
        """Whether candidates are measured in this process."""
        return self.workers == 1 and self.ray_address is None

    @property
    def worker_device(self) -> str:
        """The device as a worker of Ray sees it, which is shown only the GPU that is its own."""
        return "cpu" if self.device == "cpu" else "cuda:0"

    @property
    def measuring_device(self) -> str:
        """The device as what measures candidates sees it."""
        return self.device if self.is_here else self.worker_device

    @property
    def gpus_a_worker(self) -> float:
        """The share of a GPU that each worker asks Ray for."""
        return 0.0 if self.device == "cpu" else 1 / self.workers


@dataclass(frozen=True)
class Sources:
    """What a run is given.

    Attributes:
        weights: a path, or the embedded detector's name; `data` likewise, or empty where no images are read.
        search_images: of train, that rank candidates.
        reads_boxes: whether anything of the run reads the boxes of train.
        rivals: paths of other detectors.
        images: a folder of unlabelled images that join train, outside the hold-out.
        names: what the classes of the data are called, where its yaml is not to say it.
    """

    weights: str
    data: str
    search_images: int
    seed: int
    reads_boxes: bool
    device_file: str | None
    allow_foreign_device: bool
    rivals: tuple[str, ...] = ()
    images: str | None = None
    names: tuple[str, ...] = ()


@dataclass(frozen=True)
class Bases:
    """Which networks are searched across, and at which image sizes.

    Attributes:
        imgsz: of the user's own network; `image_sizes` are smaller ones beside it.
        is_sized: whether smaller ones are added down to that with which the whole network meets the limits.
        weights: of backbones, as "name:file,name:file".
    """

    imgsz: int
    backbones: tuple[str, ...]
    depth: int
    depth_importance: DepthImportance
    image_sizes: tuple[int, ...]
    graft_epochs: int
    weights: str | None
    is_sized: bool = False


@dataclass(frozen=True)
class Cutting:
    """Which widths and bits there are; `weight_bits` is empty where all layers stay in float32."""

    align: int
    keep_min: float
    weight_bits: tuple[int, ...]
    activation_bits: tuple[int, ...]


@dataclass(frozen=True)
class Making:
    """How a network is made of a candidate.

    Attributes:
        calibration_images: how many of train, outside the hold-out, networks are recovered on.
        needs_losses: whether anything reads more of a study than the scores of channels.
    """

    importance: Importance
    recovery: Recovery
    dtype: ComputeDtype
    calibration_images: int
    seed: int
    needs_losses: bool


@dataclass(frozen=True)
class Ranking:
    """What is searched by, and how far.

    Attributes:
        strategy: the name of a strategy or of a method.
        fixed: the candidates of a control.
        has_references: whether the whole network at a smaller image size is a row too.
    """

    strategy: str
    proxy: str
    ladder: tuple[FidelityKey, ...]
    candidates: int
    front: int
    seed: int
    fixed: tuple[Candidate, ...]
    has_references: bool = True


@dataclass(frozen=True)
class Rounds:
    """How a method trains between its cuts; of a strategy that does not, nothing of this is read."""

    n: int
    epochs: int
    sparsity: float
    is_eased: bool


@dataclass(frozen=True)
class Tuning:
    """How rows are fine-tuned.

    Attributes:
        qat_epochs: of those with bits, on their bits.
        epoch_budget: for all rows together; None where each has `epochs`.
        reads_labels: whether the boxes of train are learned, beside what the parent teaches.
        lr: None for what suits the number of classes.
        runtimes: that each row gets files for, the default one first.
        int8: for which processors INT8 files are made.
    """

    imgsz: int
    epochs: int
    qat_epochs: int
    epoch_budget: int | None
    batch: int
    lr: float | None
    distill: float
    flip: float
    mosaic: float
    seed: int
    runtimes: tuple[str, ...]
    int8: Int8
    reads_labels: bool = True


@dataclass(frozen=True)
class Parts:
    """A recipe in its parts, for the top of the engine alone.

    Attributes:
        limits: the written amounts by key, as in {"gflops": "60%"}.
        track: the trackers that hear of the run.
        identity: what makes a run this run and no other.
        settings: every key and its value, as the run folder keeps them.
    """

    place: Place
    sources: Sources
    bases: Bases
    cutting: Cutting
    limits: Mapping[str, str]
    making: Making
    ranking: Ranking
    rounds: Rounds
    tuning: Tuning
    track: tuple[str, ...]
    identity: Mapping[str, object]
    settings: Mapping[str, object]
