"""What zeros are worth beside widths: weights, kernels, filters and 2:4 masked, and channels cut, at equal parameters.

Every network loses the same share of its weights. Masks are what `strategy=unstructured` makes, smallest L1 first in
each layer; the channels that are cut are chosen and allocated as a run does it. All are measured on val as they are,
after adaptive BatchNorm, and after the same fine-tuning from there; the cut one from reconstruction too, which is how
rows start. 2:4 has half of its weights by construction, so it stands at 50 percent only.
"""

import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from ultralytics.nn.tasks import DetectionModel

from evaluators.accuracy.detection import score
from evaluators.data.images import Images, load_images
from evaluators.latency.timing import measure_latency
from evaluators.runtimes.onnx_export import export_onnx
from evaluators.worker import Supernets
from leaderboards.benchmarks.arguments import command, fine_tuned, parts_of, read_shares
from leaderboards.benchmarks.record import Cell, Record
from leaderboards.environment import environment
from leaderboards.recipes.keys import EMBEDDED
from leaderboards.recipes.strategy_keys import TWO_OF_FOUR, TWO_OF_FOUR_PERCENT
from leaderboards.runs.prepare import prepare
from leaderboards.runs.problem import Problem
from leaderboards.runs.studies import make_supernets
from leaderboards.tuning.finetune import FinetuneRecipe, finetune_recipe
from spaces.bases.names import SAME
from spaces.build import BATCH, Builder
from spaces.candidate import Candidate
from spaces.cutting.mask import Granularity, Mask, mask_of
from spaces.cutting.masks import bytes_saved, share_of_zeros, weighted_layers
from spaces.errors import BadInput
from spaces.informed_space import InformedSpace
from spaces.networks.threads import one_thread
from spaces.recovery.calibration import calibrate_bn_
from spaces.recovery.recovery import Recovery

CUT, RECONSTRUCTED = "channels cut", "channels cut, reconstructed"
SCORES = ("map_as_it_is", "map_recovered", "map_tuned")


@dataclass(frozen=True, eq=False)
class Bench:
    """What every network of the benchmark is made with and measured on."""

    problem: Problem
    supernets: Supernets
    build: Builder
    val: Images
    recipe: FinetuneRecipe

    def rows(self, share: float, masked: Iterable[Granularity] = Granularity) -> Iterator[dict[str, Cell]]:
        """Yield the rows of networks that lose `share` of their weights."""
        percent = round(100 * share)
        for mask in (mask for each in masked for mask in _masks(each, percent)):
            yield self._row(mask.granularity, percent, Candidate(SAME, (mask.pick,)), Recovery.ADAPTIVE_BN)
        cut = self._cut(share)
        for name, recovery in {CUT: Recovery.ADAPTIVE_BN, RECONSTRUCTED: Recovery.RECONSTRUCT}.items():
            yield self._row(name, percent, cut, recovery)

    def parent(self) -> dict[str, Cell]:
        """Return the row of the parent, which is not trained."""
        network = self.build(self.problem.space.parent, Recovery.NOTHING)
        whole = self._score(network)
        return {"what": "parent", "percent": 0, **self._size(network), **dict.fromkeys(SCORES, whole)}

    def _cut(self, share: float) -> Candidate:
        """Return the allocated widths that have as many parameters as a masked network has weights left."""
        weights = sum(layer.weight.numel() for layer in weighted_layers(self.problem.inputs.parent).values()) / 1e6
        limits = {"params_m": self.problem.parent_costs["params_m"] - share * weights}
        informed = InformedSpace(self.problem.space, self.supernets.same.study.losses)
        return informed.sample(np.random.default_rng(0), limits=limits, diversity=0.0)

    def _row(self, what: str, percent: int, candidate: Candidate, recovery: Recovery) -> dict[str, Cell]:
        recovered = self.build(candidate, recovery)
        if mask_of(candidate):  # the builder recovers what is cut; nothing is here
            calibrate_bn_(recovered, self.build.images.split(BATCH))
        tuned = self._tuned(recovered, candidate)
        scores = (self._score(self.build(candidate, Recovery.NOTHING)), self._score(recovered), self._score(tuned))
        return {"what": what, "percent": percent, **self._size(tuned), **dict(zip(SCORES, scores, strict=True))}

    def _tuned(self, network: DetectionModel, candidate: Candidate) -> DetectionModel:
        recipe = replace(self.recipe, keep_zeros=mask_of(candidate) is not None)
        return fine_tuned(network, self.supernets.parent, self.problem.inputs.dataset.train, recipe=recipe)

    def _size(self, network: DetectionModel) -> dict[str, Cell]:
        with tempfile.TemporaryDirectory() as folder:
            onnx = export_onnx(network, Path(folder) / "model.onnx", imgsz=self.val.imgsz)
            latency, size = measure_latency(onnx, threads=1), onnx.stat().st_size
        weights = sum(parameter.numel() for parameter in network.parameters())
        masked = sum(layer.weight.numel() for layer in weighted_layers(network).values())
        zeros = share_of_zeros(network)
        return {
            "zeros": zeros,
            "params_left_m": (weights - zeros * masked) / 1e6,
            "size_mb": size / 1e6,
            "stored_mb": (size - max(0, bytes_saved(network))) / 1e6,
            "latency_ms": latency.median_ms,
        }

    def _score(self, network: DetectionModel) -> float:
        return score(network, self.val)["map50_95"]


def granularity(*, data: str = EMBEDDED, percents: str = "30,50", epochs: str = "1", seed: str = "0") -> Record:
    """Return by how much mAP50-95 the cut network is above the one with masked weights, both fine-tuned, at its worst.

    Args:
        data: digits, or bccd or coco128 where REAL_DATA leads to them.
        percents: of the weights that go.
        epochs: of the same fine-tuning for all.

    Raises:
        BadInput: a percentage of nothing left.
    """
    shares = read_shares("percents", percents)
    if max(shares) == 1:
        raise BadInput(f"percents must be below 100, got {percents!r:.60}")
    with one_thread():
        bench = make_bench(data, f"finetune_epochs={epochs}", f"seed={seed}")
        rows = [bench.parent(), *(row for share in shares for row in bench.rows(share))]
    gain = min(gain_of(rows, round(100 * share)) for share in shares)
    return Record(
        f"granularity_{data}",
        "mAP50-95 of the cut and reconstructed network above that of masked weights, both fine-tuned, the least",
        gain,
        "at least 0",
        gain >= 0,
        rows,
        environment(),
        command("granularity", data, f"percents={percents} epochs={epochs} seed={seed}"),
    )


def _masks(each: Granularity, percent: int) -> list[Mask]:
    """Return the mask of `each` with `percent` of its units, none if it has another share by construction."""
    if each is not Granularity.N_M:
        return [Mask(each, percent)]
    return [Mask(each, TWO_OF_FOUR)] if percent == TWO_OF_FOUR_PERCENT else []


def make_bench(data: str, *words: str) -> Bench:
    """Return what the benchmark needs of `data`, with `words` as on the command line."""
    parts = parts_of(data, *words)
    problem = prepare(parts)
    supernets = make_supernets(parts.making, problem)
    tuning = finetune_recipe(parts.tuning, n_classes=len(problem.inputs.dataset.names))
    val = load_images(problem.inputs.dataset.val, imgsz=parts.bases.imgsz)
    return Bench(problem, supernets, supernets.same.builder("cpu"), val, tuning)


def gain_of(rows: list[dict[str, Cell]], percent: int, /) -> float:
    """Return the difference of the two fine-tuned networks that lose `percent` of their weights."""
    tuned = {row["what"]: float(row["map_tuned"]) for row in rows if row["percent"] == percent}
    return tuned[RECONSTRUCTED] - tuned[Granularity.WEIGHT]
