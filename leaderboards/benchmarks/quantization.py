"""What do fewer bits cost a trained detector, the same everywhere or spent where they count? No training, simulated.

Uniform bits from 8 down to 3, and at the size of a uniform choice the allocation of weight bits that Fisher information
calls cheapest. Ranges come from the calibration images of a run, other ones for each seed; mAP is that of val. What has
fewer than 8 bits is simulated in float32: no CPU executes it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from ultralytics.nn.tasks import DetectionModel

from evaluators.detection import coco_map, predict
from evaluators.images import Images, load_images
from leaderboards.bases import calibration_images
from leaderboards.benchmarks.record import Cell, Record
from leaderboards.benchmarks.setting import command, read_count, recipe_of
from leaderboards.prepare import Problem, prepare
from leaderboards.publish import environment
from leaderboards.recipe import EMBEDDED, Recipe
from spaces.base import SAME
from spaces.bit_allocation import allocate
from spaces.bits import Allocation, BitTable, LayerBits, cross_bits
from spaces.quantize import Simulator
from spaces.sensitivity import fisher
from spaces.space import Floats
from spaces.threads import one_thread

FLOAT, MIXED = "FP32", "mixed at the size of "
UNIFORM = (LayerBits(8, 8), LayerBits(6, 8), LayerBits(4, 8), LayerBits(3, 8), LayerBits(4, 4), LayerBits(3, 3))
MATCHED = (LayerBits(4, 8), LayerBits(3, 8))  # whose sizes mixed allocations keep to
WEIGHTS, ACTIVATIONS = (2, 3, 4, 6, 8), (8,)  # that they mix
TARGET = 0.01


@dataclass(frozen=True, eq=False)
class _Seeded:
    """One seed's ranges and predicted costs.

    Attributes:
        costs: (n_layers, n_options) of the table.
    """

    simulator: Simulator
    table: BitTable
    costs: Floats

    def settings(self) -> dict[str, Allocation]:
        """Return every allocation of the comparison, by name."""
        uniform = {str(bits): self.table.uniform(bits) for bits in UNIFORM}
        mixed = {f"{MIXED}{bits}": self._mixed(self.table.uniform(bits)) for bits in MATCHED}
        return {FLOAT: {}, **uniform, **mixed}

    def _mixed(self, uniform: Allocation) -> Allocation:
        """Return the allocation that costs least in no more bytes than `uniform` takes."""
        room = self.table.costs(uniform)["size_mb"] - self.table.fixed()["size_mb"]
        sizes = self.table.tables()["size_mb"]
        return self.table.allocation(allocate(self.costs, sizes[None], np.array([room])).choice)


def quantization(*, data: str = EMBEDDED, seeds: str = "3") -> Record:
    """Return by how much mAP50-95 mixed bits are above uniform ones of the same size, the least over sizes.

    Args:
        data: digits, or bccd or coco128 where REAL_DATA leads to them.
        seeds: of the calibration images.
    """
    n_seeds, recipe = read_count("seeds", seeds, least=1), recipe_of(data)
    problem = prepare(recipe)
    val = load_images(problem.inputs.dataset.val, imgsz=recipe.imgsz)
    with one_thread():
        tried = [_seeded(recipe.model_copy(update={"seed": seed}), problem) for seed in range(n_seeds)]
        settings = [each.settings() for each in tried]
        maps = [
            {name: _map(each, bits, val) for name, bits in own.items()}
            for each, own in zip(tried, settings, strict=True)
        ]
    costs = {name: tried[0].table.costs(bits) for name, bits in settings[0].items()}
    rows = [{**_row(name, maps), **costs[name]} for name in maps[0]]
    gains = [np.mean([found[f"{MIXED}{bits}"] - found[str(bits)] for found in maps]) for bits in MATCHED]
    return Record(
        f"quantization_{data}",
        f"mean mAP50-95 of mixed bits above that of uniform bits of equal size, the least over sizes, {n_seeds} seeds",
        float(min(gains)),
        f"at least {TARGET}",
        bool(min(gains) >= TARGET),
        rows,
        environment(),
        command("quantization", data, f"seeds={n_seeds}"),
    )


def _seeded(recipe: Recipe, problem: Problem) -> _Seeded:
    images = calibration_images(recipe, problem.inputs.holdout, imgsz=recipe.imgsz).tensor()
    simulator = Simulator(problem.inputs.parent, images)
    table = BitTable(problem.bases[SAME].graph, cross_bits(WEIGHTS, ACTIVATIONS))
    return _Seeded(simulator, table, fisher(simulator, table, images, seed=recipe.seed))


def _map(seeded: _Seeded, bits: Allocation, val: Images) -> float:
    network = seeded.simulator(bits)
    assert isinstance(network, DetectionModel)
    return coco_map(predict(network, val), val).map50_95


def _row(name: str, maps: Sequence[Mapping[str, float]]) -> dict[str, Cell]:
    found = np.array([each[name] for each in maps])
    return {
        "bits": name,
        "map50_95": float(found.mean()),
        "sd": float(found.std(ddof=1)) if len(found) > 1 else 0.0,
        "lost": float(np.mean([each[FLOAT] for each in maps]) - found.mean()),
    }
