"""Every key of a recipe: its type, its default, what it may be, and what it means, which help and docs print."""

import math
import os
from typing import Annotated

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from evaluators.runtimes.by_name import DEFAULT
from evaluators.runtimes.precision import Int8
from leaderboards.recipes import bit_keys
from leaderboards.recipes.ranking_keys import default_proxy, ladder_of, ranking
from leaderboards.recipes.size_keys import read_sizes
from leaderboards.recipes.strategy_keys import check_strategy, default_importance, default_recovery
from leaderboards.recipes.tuning_keys import check_epoch_budget, check_runtimes, check_trackers
from leaderboards.run_path import checked_name
from spaces.bases.names import SAME, DepthImportance
from spaces.cutting.mask import Granularity
from spaces.detectors.backbones.trunks import TRUNKS, check_backbone
from spaces.importance.by_name import Importance
from spaces.networks.compute_dtype import ComputeDtype, native_dtype
from spaces.recovery.recovery import Recovery

EMBEDDED = "digits"
NO_DATA = ""  # what `profile` can do without
LIMITS = ("gflops", "macs_g", "params_m", "size_mb", "bops_g", "latency_ms")
LISTS = ("runtimes", "track", "backbones", "bits", "activation_bits", "image_sizes", "ladder", "rivals", "names")
WHERE = ("workers", "ray_address", "device", "track", "out")  # where a run happens does not change what it is


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


ImageSize = Annotated[int, AfterValidator(_image_size)]
Amount = Annotated[str, BeforeValidator(read_amount)]


class Keys(BaseModel):
    """The flat keys, as the command line and a config file give them."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    weights: str = EMBEDDED
    """An Ultralytics detection checkpoint, a `.pt` of the original yolov5 repository, or a model folder of an earlier
    run."""
    data: str = EMBEDDED
    """A data yaml in the Ultralytics layout; or images without labels, a folder or a .txt list, on which what the
    parent finds is taken for true."""
    names: tuple[str, ...] = ()
    """The names of the data's classes in their order, where its yaml has other words for them than the weights."""
    images: str | None = None
    """A folder of unlabelled images, which calibrate, and train where labels=false."""
    imgsz: ImageSize = 640
    """Side of the square input in pixels, a multiple of 32."""
    gflops: Amount | None = None
    """Upper limit on GFLOPs, 2 x MACs, unfused; a number or a percentage of the parent."""
    macs_g: Amount | None = None
    """Upper limit on MACs in 1e9."""
    params_m: Amount | None = None
    """Upper limit on parameters in millions."""
    size_mb: Amount | None = None
    """Upper limit on the deployed file in 1e6 bytes."""
    bops_g: Amount | None = None
    """Upper limit on BOPs in 1e9: MACs times the bits of both factors."""
    latency_ms: Amount | None = None
    """Upper limit on the latency in ONNX Runtime, one thread, batch 1, in milliseconds."""
    device_file: str | None = None
    """Predicts the latencies of a search instead of timing each candidate; `bench latency` makes it."""
    allow_foreign_device: bool = False
    """Whether a device file of another machine may set limits."""
    keep_min: float = Field(0.2, gt=0, le=1)
    """Least fraction of a block's channels that stays."""
    align: int = Field(8, ge=1, le=64)
    """Step of channel counts."""
    backbones: Annotated[tuple[str, ...], AfterValidator(_backbones)] = (SAME,)
    """Published backbones under the detector's own neck and head, `same` for its own."""
    depth: int = Field(0, ge=0, le=100)
    """Up to so many repeats of C3, C2f and their like may be left out."""
    depth_importance: DepthImportance = DepthImportance.CHANGE
    """Which repeats go first: those that change their input least, or that weigh least."""
    graft_epochs: int = Field(10, ge=1, le=10_000)
    """Epochs in which a new backbone learns the parent's features, and then as many of fine-tuning."""
    backbone_weights: str | None = None
    """Files of pretrained backbones, as in `ghostnet:a.safetensors,lcnet:b.pth`; nothing is downloaded."""
    image_sizes: Annotated[tuple[ImageSize, ...] | None, BeforeValidator(read_sizes)] = None
    """Smaller image sizes to search beside `imgsz`; by default up to three where MACs, BOPs or latency are limited."""
    bits: Annotated[tuple[int, ...], AfterValidator(bit_keys.check_weight_bits)] = ()
    """Bits that the weights of a layer may have; empty leaves all layers in float32."""
    activation_bits: Annotated[tuple[int, ...], AfterValidator(bit_keys.check_activation_bits)] = Field(
        default_factory=bit_keys.default_activation_bits
    )
    """Bits that what a layer reads may have; 8 where `bits` is given."""
    strategy: Annotated[str, AfterValidator(check_strategy)] = "informed"
    """What proposes candidates, or trains and cuts in rounds."""
    granularity: Granularity = Granularity.WEIGHT
    """What strategy=unstructured sets to zero as one."""
    sparsity_percent: int | None = Field(None, ge=1, le=99)
    """Share of each layer that strategy=unstructured sets to zero; 30, or 50 for 2:4."""
    importance: Importance = Field(default_factory=lambda known: default_importance(known.get("strategy")))
    """Which channels stay: those that reconstruction can least do without, or by a published score."""
    recovery: Recovery = Field(default_factory=lambda known: default_recovery(known.get("strategy")))
    """What is done to a cut network before it is ranked and fine-tuned."""
    rounds: int | None = Field(None, ge=1, le=100)
    """Rounds of a method that trains between cuts; as published."""
    round_epochs: int | None = Field(None, ge=1, le=10_000)
    """Epochs of training in each round; as many as of fine-tuning, at least 1."""
    sparsity: float | None = Field(None, gt=0, le=10)
    """Coefficient of absolute BatchNorm scales in the loss of a round; as published."""
    precision: ComputeDtype = Field(default_factory=native_dtype)
    """Dtype of the passes that rank candidates; rows are made and measured in float32. bfloat16 if the CPU has it."""
    candidates: int = Field(120, ge=1, le=1_000_000)
    """How many candidates are ranked."""
    front: int = Field(4, ge=1, le=1000)
    """How many of them are fine-tuned and become rows."""
    references: bool = True
    """Whether the whole network, fed an image small enough for the limits, is a row too: what a search must beat."""
    rivals: tuple[str, ...] = ()
    """Files of other trained detectors, classes matched by name: each is a row, at an image size within the limits."""
    finetune_epochs: int = Field(10, ge=0, le=10_000)
    """Epochs of fine-tuning for each row; 0 trains nothing."""
    epoch_budget: Annotated[int | None, AfterValidator(check_epoch_budget)] = Field(None, ge=1, le=1_000_000)
    """Epochs for all rows together, by successive halving: dominated rows stop early. `purse` is its older name."""
    labels: bool = True
    """Whether rows learn the boxes of train; without, they learn the parent's outputs alone."""
    qat_epochs: int | None = Field(None, ge=0, le=10_000)
    """Epochs of rows with bits on their bits; as many as of fine-tuning."""
    proxy: Annotated[str, AfterValidator(ranking), AfterValidator(bit_keys.check_seeing)] = Field(
        default_factory=lambda known: default_proxy(known)
    )
    """What ranks candidates; the task loss, or its mAP where rows are not trained or image sizes differ."""
    ladder: Annotated[tuple[str, ...], AfterValidator(ladder_of)] = ()
    """Cheap proxies first, as in `block_loss:20,loss_one_shot:4`: the best of so many is kept at each step."""
    batch: int = Field(8, ge=1, le=1024)
    """Images in a batch of fine-tuning."""
    lr: float | None = Field(None, gt=0, le=1)
    """Highest learning rate of fine-tuning; 0.01 / (4 + classes) but at most 0.001."""
    distill: float = Field(2.0, ge=0, le=100)
    """Weight of the parent's outputs as a teacher in the loss; 0 leaves the parent out."""
    flip: float = Field(0.5, ge=0, le=1)
    """Probability that an image is mirrored; 0 where a mirrored object is another class."""
    mosaic: float = Field(0.0, ge=0, le=1)
    """Probability that four images are put together."""
    runtimes: Annotated[tuple[str, ...], AfterValidator(check_runtimes)] = (DEFAULT,)
    """Runtimes that each row gets files for, and is measured and timed in; ONNX Runtime is always among them, first."""
    int8: Int8 = Int8.PORTABLE
    """For which processors INT8 files are made: portable ones overflow on none, vnni ones are finer and need VNNI."""
    calibration_images: int = Field(64, ge=1, le=4096)
    """Images of train that networks are recovered on; labels are not read."""
    search_images: int = Field(64, ge=1, le=100_000)
    """Images of train, held out of training, that rank candidates."""
    seed: int = Field(0, ge=0, le=2**63 - 1)
    """Of everything that chance decides."""
    workers: int = Field(default_factory=lambda: min(os.cpu_count() or 1, 8), ge=1, le=4096)
    """Processes that measure candidates and fine-tune rows; the CPUs, at most 8."""
    ray_address: str | None = None
    """A Ray cluster to run on, as in `head:6379`."""
    device: Annotated[str, Field(pattern=r"^(cpu|[0-9]{1,4}|cuda(:[0-9]{1,4})?)$")] = "cpu"
    """`cpu`, or the number of a GPU."""
    track: Annotated[tuple[str, ...], AfterValidator(check_trackers)] = ()
    """Experiment trackers that hear of the run, too."""
    out: Annotated[str, AfterValidator(checked_name)] = ""
    """The run folder: a name under runs/, or a path. By default named after weights and data."""
