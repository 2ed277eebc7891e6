"""What is another backbone worth under a trained neck and head? Grafted, fine-tuned and measured on val, one by one.

Every epoch and every row goes to a journal and every network has its checkpoints, so a benchmark that was stopped
goes on where it was.
"""

import hashlib
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from ultralytics.nn.tasks import DetectionModel

from evaluators.accuracy.detection import coco_map, predict
from evaluators.data.images import Images, load_images
from evaluators.latency.timing import measure_latency
from evaluators.runtimes.onnx_export import export_onnx
from leaderboards.benchmarks.arguments import command, parts_of, read_count
from leaderboards.benchmarks.record import Cell, Record
from leaderboards.environment import environment
from leaderboards.recipes.keys import EMBEDDED
from leaderboards.recipes.parts import Parts
from leaderboards.run_path import run_folder
from leaderboards.runs.inputs import load_inputs
from leaderboards.runs.problem import Inputs
from leaderboards.tuning.finetune import FinetuneRecipe, finetune, finetune_recipe
from leaderboards.tuning.graft import TUNING_LR, graft, graft_recipe
from leaderboards.tuning.training import TrainingRecipe
from search.journal import Journal
from spaces.channels.trace import trace_channels
from spaces.detectors.backbones.pretrained import load_pretrained
from spaces.detectors.backbones.swap import swap_backbone
from spaces.detectors.backbones.trunks import check_backbone
from spaces.detectors.backbones.weight_paths import read_weight_paths
from spaces.errors import BadInput
from spaces.space import Space

FIVE = "ghostnet,shufflenetv2,mobilenetv3_small,efficientnet_lite0,lcnet"
PARENT = "same"
TARGET = 0.9  # of the parent's mAP
LATENCY_SECONDS = 10.0
EPOCH, ROW = "epoch", "row"  # the journal's records


@dataclass(frozen=True, eq=False)
class SwapRecipe:
    """What is the same for every backbone.

    Attributes:
        weights: pretrained ones by backbone.
        folder: for the checkpoints, which are gone once a backbone's row is written.
    """

    inputs: Inputs
    val: Images
    grafting: TrainingRecipe
    tuning: FinetuneRecipe
    weights: Mapping[str, Path]
    folder: Path

    def identity(self) -> dict[str, object]:
        """Return what rows must agree on to stand in one table."""
        return {
            "grafting": asdict(self.grafting),
            "tuning": asdict(self.tuning),
            "weights": {name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in self.weights.items()},
            "parent": self.inputs.fingerprint,
            "data": self.inputs.dataset.fingerprint,
        }


def swaps(
    *,
    data: str = EMBEDDED,
    backbones: str = FIVE,
    graft_epochs: str = "3",
    epochs: str = "6",
    lr: str = str(TUNING_LR),
    backbone_weights: str = "",
    out: str = "",
) -> Record:
    """Return what share of the parent's mAP on val the worst of the swapped networks ends at.

    Args:
        data: digits, or bccd or coco128 where REAL_DATA leads to them.
        graft_epochs: of learning the parent's features.
        epochs: of fine-tuning with distillation after it.
        lr: of the fine-tuning, whose start is far from its end.
        backbone_weights: pretrained ones, as in "ghostnet:a.safetensors,lcnet:b.pth"; others start from chance.
        out: a run folder for the journal; what is there already is not done again.
    """
    names, n_graft = read_names(backbones), read_count("graft_epochs", graft_epochs, least=0)
    weights = read_weight_paths(backbone_weights) if backbone_weights else {}
    parts = parts_of(data, f"finetune_epochs={read_count('epochs', epochs, least=0)}", f"lr={lr}")
    folder = run_folder(out or f"swaps-{data}")
    swapping = make_swapping(parts, load_inputs(parts), graft_epochs=n_graft, weights=weights, folder=folder)
    rows = swap_rows(swapping, names)
    whole = float(rows[0]["map50_95"])
    worst = min(float(row["map50_95"]) for row in rows[1:]) / whole
    words = f"backbones={backbones} graft_epochs={graft_epochs} epochs={epochs} lr={lr}"
    return Record(
        f"swaps_{data}",
        "mAP50-95 on val over the parent's, of the worst of the swapped backbones after fine-tuning",
        worst,
        f"at least {TARGET}",
        worst >= TARGET,
        rows,
        environment(),
        command("swaps", data, words + (f" backbone_weights={backbone_weights}" if backbone_weights else "")),
    )


def read_names(text: str) -> list[str]:
    """Return the backbones that `text` names.

    Raises:
        BadInput: an unknown one, or one is named twice.
    """
    names = text.split(",")
    for name in names:
        check_backbone(name)
    if len(set(names)) < len(names):
        raise BadInput(f"backbones must be different ones, got {text!r:.60}")
    return names


def make_swapping(
    parts: Parts, inputs: Inputs, *, graft_epochs: int, weights: Mapping[str, Path], folder: Path
) -> SwapRecipe:
    """Return what is the same for every backbone under the parent of `inputs`."""
    val = load_images(inputs.dataset.val, imgsz=parts.bases.imgsz)
    tuning = replace(finetune_recipe(parts.tuning, n_classes=len(inputs.dataset.names)), freezes_bn=False)
    return SwapRecipe(inputs, val, graft_recipe(tuning, epochs=graft_epochs), tuning, weights, folder)


def swap_rows(swapping: SwapRecipe, names: Sequence[str]) -> list[Mapping[str, Cell]]:
    """Return the parent's row and one for each backbone, those that the journal has already as they are."""
    swapping.folder.mkdir(parents=True, exist_ok=True)
    with Journal(swapping.folder / "swaps.jsonl", swapping.identity()) as journal:
        for name in (PARENT, *names):
            if name not in _rows(journal):
                journal.append(ROW, {"backbone": name, **_measure(swapping, name, journal)})
        rows = _rows(journal)
    return [{**rows[name], **_latency(swapping, name)} for name in (PARENT, *names)]


def _rows(journal: Journal) -> dict[str, Mapping[str, Cell]]:
    return {str(row["backbone"]): row for row in journal.records(ROW)}  # type: ignore[misc]


def _measure(swapping: SwapRecipe, name: str, journal: Journal) -> dict[str, Cell]:
    """Return the row of one backbone."""
    parent = swapping.inputs.parent
    if name == PARENT:
        return _row(swapping, grafted=parent, tuned=parent, minutes=0.0)

    def reporter(stage: str) -> Callable[[Mapping[str, float]], None]:
        return lambda report: journal.append(EPOCH, {"backbone": name, "stage": stage, **report})

    folder, train = swapping.folder / name, swapping.inputs.dataset.train
    folder.mkdir(exist_ok=True)
    tensors = load_pretrained(name, swapping.weights[name]) if name in swapping.weights else None
    grafted = graft(
        swap_backbone(parent, name, tensors, seed=swapping.grafting.seed),
        parent,
        train,
        recipe=swapping.grafting,
        checkpoint=folder / "graft.pt",
        report=reporter("graft"),
        device="cpu",
    )
    tuned = finetune(
        grafted,
        parent,
        train,
        recipe=swapping.tuning,
        checkpoint=folder / "finetune.pt",
        report=reporter("finetune"),
        device="cpu",
    )
    seconds = [float(str(each["seconds"])) for each in journal.records(EPOCH) if each["backbone"] == name]
    row = _row(swapping, grafted=grafted, tuned=tuned, minutes=sum(seconds) / 60)
    for checkpoint in folder.glob("*.pt"):
        checkpoint.unlink()
    folder.rmdir()
    return row


def _row(swapping: SwapRecipe, *, grafted: DetectionModel, tuned: DetectionModel, minutes: float) -> dict[str, Cell]:
    imgsz = swapping.grafting.imgsz
    graph = trace_channels(tuned, imgsz=imgsz)
    space = Space(graph)
    costs = space.costs(space.parent)
    maps = [coco_map(predict(model, swapping.val), swapping.val).map50_95 for model in (grafted, tuned)]
    return {
        "map_grafted": maps[0],
        "map50_95": maps[1],
        "macs_g": costs["macs_g"],
        "params_m": costs["params_m"],
        "blocks": len(graph.blocks),
        "minutes": minutes,
    }


def _latency(swapping: SwapRecipe, name: str) -> dict[str, Cell]:
    """Return the latency of a backbone's network, timed when all are trained: one right after the other.

    It does not depend on the weights, so nothing has to be kept for it.
    """
    parent = swapping.inputs.parent
    network = parent if name == PARENT else swap_backbone(parent, name)
    with tempfile.TemporaryDirectory() as folder:
        onnx = export_onnx(network, Path(folder) / "model.onnx", imgsz=swapping.grafting.imgsz)
        latency = measure_latency(onnx, threads=1, max_seconds=LATENCY_SECONDS)
    return {"latency_ms": latency.median_ms, "latency_low_ms": latency.low_ms, "latency_high_ms": latency.high_ms}
