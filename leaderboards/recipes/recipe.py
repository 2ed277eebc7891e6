"""What a run is asked to do: every key of the command line, its default, and what it may be."""

import difflib
import math
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated

import yaml
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from leaderboards.entry import Entry
from leaderboards.recipes import bit_keys
from leaderboards.recipes.methods import METHODS, StrategyName, default_importance, default_recovery
from leaderboards.recipes.ranking_keys import default_proxy, ladder_of, ranking, reads_boxes
from leaderboards.tuning.purse import check_purse
from spaces.backbones.trunks import TRUNKS, check_backbone
from spaces.base import SAME
from spaces.build import Recovery
from spaces.depth import DepthImportance
from spaces.errors import BadInput
from spaces.importance import Importance
from spaces.masks import Granularity
from spaces.precision import Precision, native_precision

EMBEDDED = "digits"
LIMITS = ("gflops", "macs_g", "params_m", "size_mb", "bops_g", "latency_ms")
LISTS = ("backbones", "bits", "activation_bits", "image_sizes", "ladder")
WHERE = ("workers", "ray_address", "device", "out")  # where a run happens does not change what it is
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


def _amount(value: object) -> str:
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


def _run_folder(value: str) -> str:
    path = Path(value)
    is_plain = ".." not in path.parts and not value.startswith("~") and value.isprintable()
    if not is_plain or not _NAME.fullmatch(path.name):
        raise ValueError("must be a name (letters, digits, '.', '_', '-', at most 64) or a folder without '..' and '~'")
    return value


Amount = Annotated[str, BeforeValidator(_amount)]


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
    out: Annotated[str, AfterValidator(_run_folder)] = ""

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


EMBEDDED_DEFAULTS: Mapping[str, object] = {
    "imgsz": 160,
    "gflops": "50%",
    "candidates": 72,
    "finetune_epochs": 1,
    "lr": 4e-4,  # at 1e-3 one epoch leaves a row at half the MACs below where reconstruction had put it
    "flip": 0.0,
}
"""What differs for the embedded digits set; a mirrored digit is another digit or none."""


def read_recipe(words: Sequence[str]) -> Recipe:
    """Return the recipe of `key=value` words; `config=file.yaml` gives the same keys, and the command line wins.

    Raises:
        BadInput: an unknown key (the nearest one is named) or a value that is not allowed.
    """
    keys = [*Recipe.model_fields, "config"]
    pairs = read_pairs(words, allowed=keys)
    config = pairs.pop("config", None)
    given: dict[str, object] = {} if config is None else _config_file(Path(config))
    for key in given:
        if key not in Recipe.model_fields:
            raise BadInput(f"config: unknown key {key!r:.60}{_nearest(key, list(Recipe.model_fields))}")
    given |= {key: _listed(key, value) if key in LISTS else value for key, value in pairs.items()}
    weights, data = given.get("weights", EMBEDDED), given.get("data", EMBEDDED)
    if (weights == EMBEDDED) != (data == EMBEDDED):
        missing = "data" if data == EMBEDDED else "weights"
        raise BadInput(f"{missing} must be given too: the embedded digits detector and data set belong together")
    if is_control := given.get("strategy") == "unstructured":
        given = {"candidates": 1, "front": 1, **given}
    if weights == EMBEDDED:
        own_limit = is_control or any(limit in given for limit in LIMITS)
        defaults = {key: value for key, value in EMBEDDED_DEFAULTS.items() if key != "gflops" or not own_limit}
        given = {**defaults, **given}
    given.setdefault("out", default_name(str(weights), str(data)))
    try:
        return Recipe.model_validate(given)
    except ValidationError as error:
        raise BadInput(_first_fault(error)) from error


def run_folder(name: str) -> Path:
    """Return the folder of the run called `name`; a bare name lies under runs/."""
    path = Path(name)
    return Path("runs") / path if len(path.parts) == 1 else path


def read_out(name: str, /) -> Path:
    """Return the folder that `name` asks for; a bare name lies under runs/.

    Raises:
        BadInput: it is neither a name nor a folder that may be written to.
    """
    try:
        return run_folder(_run_folder(name))
    except ValueError as error:
        raise BadInput(f"out: {error}, got {name!r:.60}") from error


def read_limits(words: Sequence[str], parent: Entry) -> dict[str, float]:
    """Return the limits among `key=value` words; percentages are of the parent's measured row.

    Raises:
        BadInput: a word that is no limit.
    """
    limits = {}
    for key, value in read_pairs(words, allowed=LIMITS).items():
        try:
            amount = _amount(value)
        except ValueError as error:
            raise BadInput(f"{key}: {error}, got {value!r:.60}") from error
        if parent.quality is None:
            raise BadInput(f"{key}: the parent's row failed, so there is nothing to take a percentage of")
        whole = parent.quality.readings()[key]
        limits[key] = whole * float(amount[:-1]) / 100 if amount.endswith("%") else float(amount)
    return limits


def read_pairs(words: Sequence[str], *, allowed: Sequence[str]) -> dict[str, str]:
    """Return `key=value` words as a mapping.

    Raises:
        BadInput: a word of another form, a key that is not among `allowed`, or one that is given twice.
    """
    pairs: dict[str, str] = {}
    for word in words:
        key, equals, value = word.partition("=")
        if key not in allowed:
            raise BadInput(f"unknown key {key!r:.60}{_nearest(key, allowed)}")
        if not equals or not value:
            raise BadInput(f"{word!r:.60} must be key=value")
        if key in pairs:
            raise BadInput(f"{key} is given twice")
        pairs[key] = value
    return pairs


def default_name(weights: str, data: str) -> str:
    """Return the run name that weights and data suggest."""
    if weights == EMBEDDED:
        return EMBEDDED
    folder = Path(data).resolve().parent.name
    return re.sub(r"[^A-Za-z0-9._-]+", "-", f"{Path(weights).stem}-{folder}").strip("-.")[:64] or "run"


def _listed(key: str, value: str) -> object:
    """Return a list from "[a, b]" or "a,b"."""
    parts = tuple(part.strip() for part in value.strip("[]").split(",") if part.strip())
    if bit_keys.is_given_empty(key, parts):
        raise BadInput(f"{key} must have at least one number of bits, as in {key}=8, got {value!r:.60}")
    return parts


def _config_file(path: Path) -> dict[str, object]:
    if not path.is_file():
        raise BadInput(f"config: {str(path)!r} not found")
    if path.stat().st_size > 1_000_000:
        raise BadInput(f"config: {str(path)!r} is larger than 1 MB")
    try:
        record = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, ValueError) as error:  # not UTF-8; a date such as 2026-13-45
        raise BadInput(f"config: {str(path)!r} is no YAML: {' '.join(str(error).split()):.120}") from error
    if not isinstance(record, dict):
        raise BadInput(f"config: {str(path)!r} must map keys to values")
    return {str(key): value for key, value in record.items() if value is not None}


def _nearest(key: str, allowed: Sequence[str]) -> str:
    close = difflib.get_close_matches(key, allowed, n=1, cutoff=0.5)
    others = f"the keys are {', '.join(allowed)}" if allowed else "there are no keys here"
    return f"; did you mean {close[0]!r}?" if close else f"; {others}"


def _first_fault(error: ValidationError) -> str:
    fault = error.errors()[0]
    key = ".".join(str(part) for part in fault["loc"][:1])
    return f"{key}: {fault['msg'].removeprefix('Value error, ')}, got {fault['input']!r:.60}"
