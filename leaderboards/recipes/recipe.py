"""What a run is asked to do: every key of the command line, its default, and what it may be."""

import math
import os
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from leaderboards.recipes import bit_keys
from leaderboards.recipes.ranking_keys import default_proxy, ladder_of, ranking, reads_boxes
from leaderboards.recipes.strategy_keys import METHODS, StrategyName, default_importance, default_recovery
from leaderboards.recipes.tuning_keys import check_purse
from leaderboards.run_folder import checked_name, run_folder
from spaces.bases.base import SAME
from spaces.bases.depth import DepthImportance
from spaces.cutting.masks import Granularity
from spaces.detectors.backbones.trunks import TRUNKS, check_backbone
from spaces.importance.by_name import Importance
from spaces.networks.precision import Precision, native_precision
from spaces.recovery.recovery import Recovery

EMBEDDED = "digits"
LIMITS = ("gflops", "macs_g", "params_m", "size_mb", "bops_g", "latency_ms")
LISTS = ("backbones", "bits", "activation_bits", "image_sizes", "ladder")
WHERE = ("workers", "ray_address", "device", "out")  # where a run happens does not change what it is


def read_amount(value: object) -> str:
    """Return a limit in its written form: "1.2" or "60%"."""
    text = str(value).strip()
    try:
        number = float(text.removesuffix("%"))
    except ValueError:
        number = math.nan
    if not (math.isfinite(number) and number > 0):
        raise ValueError("must be a number above 0 or a percentage of the parent, as in 1.5 or 60%")
    return text


def _image_size(value: int) -> int:
    if value % 32 or not 32 <= value <= 4096:
        raise ValueError("must be a multiple of 32 from 32 to 4096")
    return value


def _backbones(value: tuple[str, ...]) -> tuple[str, ...]:
    for name in value:
        if name != SAME:
            check_backbone(name)
    if not value or len(set(value)) < len(value):
        raise ValueError(f"must be some of {', '.join((SAME, *TRUNKS))}, each once")
    return value


Amount = Annotated[str, BeforeValidator(read_amount)]


class Recipe(BaseModel):
    """A run, complete: what is not given has its default here."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    weights: str = EMBEDDED
    data: str = EMBEDDED
    imgsz: Annotated[int, AfterValidator(_image_size)] = 640
    gflops: Amount | None = None
    macs_g: Amount | None = None
    params_m: Amount | None = None
    size_mb: Amount | None = None
    bops_g: Amount | None = None
    latency_ms: Amount | None = None
    device_file: str | None = None
    allow_foreign_device: bool = False
    keep_min: float = Field(0.2, gt=0, le=1)
    align: int = Field(8, ge=1, le=64)
    backbones: Annotated[tuple[str, ...], AfterValidator(_backbones)] = (SAME,)
    depth: int = Field(0, ge=0, le=100)
    depth_importance: DepthImportance = DepthImportance.CHANGE
    graft_epochs: int = Field(10, ge=1, le=10_000)
    backbone_weights: str | None = None
    image_sizes: tuple[Annotated[int, AfterValidator(_image_size)], ...] = ()
    bits: Annotated[tuple[int, ...], AfterValidator(bit_keys.check_weight_bits)] = ()
    activation_bits: Annotated[tuple[int, ...], AfterValidator(bit_keys.check_activation_bits)] = Field(
        default_factory=bit_keys.default_activation_bits
    )
    strategy: StrategyName = "informed"
    granularity: Granularity = Granularity.WEIGHT
    sparsity_percent: int | None = Field(None, ge=1, le=99)
    importance: Importance = Field(default_factory=lambda known: default_importance(known.get("strategy")))
    recovery: Recovery = Field(default_factory=lambda known: default_recovery(known.get("strategy")))
    rounds: int | None = Field(None, ge=1, le=100)  # of training and cutting, as the method was published
    round_epochs: int | None = Field(None, ge=1, le=10_000)  # as many as of fine-tuning, at least 1
    sparsity: float | None = Field(None, gt=0, le=10)
    precision: Precision = Field(default_factory=native_precision)
    candidates: int = Field(120, ge=1, le=1_000_000)
    front: int = Field(4, ge=1, le=1000)
    finetune_epochs: int = Field(10, ge=0, le=10_000)
    purse: Annotated[int | None, AfterValidator(check_purse)] = Field(None, ge=1, le=1_000_000)  # epochs of all rows
    qat_epochs: int | None = Field(None, ge=0, le=10_000)  # as many as of fine-tuning
    proxy: Annotated[str, AfterValidator(ranking), AfterValidator(bit_keys.check_seeing)] = Field(
        default_factory=lambda known: default_proxy(known)
    )
    ladder: Annotated[tuple[str, ...], AfterValidator(ladder_of)] = ()
    batch: int = Field(8, ge=1, le=1024)
    lr: float | None = Field(None, gt=0, le=1)
    distill: float = Field(2.0, ge=0, le=100)
    flip: float = Field(0.5, ge=0, le=1)
    mosaic: float = Field(0.0, ge=0, le=1)
    calibration_images: int = Field(64, ge=1, le=4096)
    search_images: int = Field(64, ge=1, le=100_000)
    seed: int = Field(0, ge=0, le=2**63 - 1)
    workers: int = Field(default_factory=lambda: min(os.cpu_count() or 1, 8), ge=1, le=4096)
    ray_address: str | None = None
    device: Annotated[str, Field(pattern=r"^(cpu|\d+|cuda(:\d+)?)$")] = "cpu"
    out: Annotated[str, AfterValidator(checked_name)] = ""

    @property
    def folder(self) -> Path:
        """The run folder."""
        return run_folder(self.out)

    @property
    def torch_device(self) -> str:
        """The device in torch's words."""
        return f"cuda:{self.device}" if self.device.isdigit() else self.device

    @property
    def worker_device(self) -> str:
        """The device as a worker of Ray sees it, which is shown only the GPU that is its own."""
        return "cpu" if self.device == "cpu" else "cuda:0"

    @property
    def gpus_a_worker(self) -> float:
        """The share of a GPU that each worker asks Ray for."""
        return 0.0 if self.device == "cpu" else 1 / self.workers

    @property
    def needs_train_labels(self) -> bool:
        """Whether anything of the run reads the boxes of train: ranking by mAP or loss does, and fine-tuning."""
        return self.finetune_epochs > 0 or reads_boxes(self.proxy, self.ladder) or self.strategy in METHODS

    def identity(self) -> dict[str, object]:
        """Return what makes a run this run and no other; a journal of another identity is not resumed."""
        return {key: value for key, value in self.model_dump(mode="json").items() if key not in WHERE}
