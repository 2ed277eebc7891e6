"""What do fewer bits cost a trained detector, the same everywhere or spent where they count, before and after training?

Uniform bits from 8 down to 3, and at the size of a uniform choice the allocation of weight bits that Fisher information
calls cheapest. Ranges come from the calibration images of a run, other ones for each seed; mAP is that of val. Training
on the bits (QAT) is the run's own fine-tuning with steps that are learned, and float is fine-tuned as long beside it.
What has fewer than 8 bits is simulated in float32 here; `bench quantized_export` runs the files.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from ultralytics.nn.tasks import DetectionModel

from evaluators.accuracy.detection import coco_map, predict
from evaluators.data.images import load_images
from evaluators.result import Job, Result, Status
from leaderboards.benchmarks.arguments import command, fine_tuned, measured, parts_of, read_count
from leaderboards.benchmarks.record import Cell, Record
from leaderboards.environment import environment
from leaderboards.recipes.keys import EMBEDDED
from leaderboards.recipes.parts import Parts
from leaderboards.run_path import run_folder
from leaderboards.runs.bases import calibration_images
from leaderboards.runs.prepare import prepare
from leaderboards.runs.problem import Problem
from leaderboards.tuning.finetune import finetune_recipe
from search.journal import Journal
from spaces.bases.names import SAME
from spaces.bits.allocation import allocate
from spaces.bits.layer_bits import Allocation, BitTable, LayerBits, cross_bits, from_picks, to_picks
from spaces.bits.sensitivity import fisher
from spaces.bits.simulation import Simulator
from spaces.candidate import Candidate
from spaces.networks.threads import one_thread
from spaces.space import Floats

FLOAT, MIXED = "FP32", "mixed at the size of "
UNIFORM = (LayerBits(8, 8), LayerBits(6, 8), LayerBits(4, 8), LayerBits(3, 8), LayerBits(4, 4), LayerBits(3, 3))
MATCHED = (LayerBits(4, 8), LayerBits(3, 8))  # whose sizes mixed allocations keep to
WEIGHTS, ACTIVATIONS = (2, 3, 4, 6, 8), (8,)  # that they mix
TARGET = 0.01
PTQ, QAT = "map50_95", "qat_map50_95"


@dataclass(frozen=True, eq=False)
class _Seeded:
    """What one seed's images tell of the bits.

    Attributes:
        costs: (n_layers, n_options) of the table.
    """

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


@dataclass(frozen=True, eq=False)
class _Tried:
    """What is done with one allocation: simulated, then trained if any epochs are asked for; measured on val.

    Attributes:
        n_settings: a job's number over it is the seed.
    """

    parts: Parts
    problem: Problem
    n_settings: int
    epochs: int

    def __call__(self, job: Job) -> Result:
        torch.set_num_threads(1)
        seed, inputs = job.number // self.n_settings, self.problem.inputs
        allocation = from_picks(job.candidate.picks)
        network = inputs.parent
        if allocation:
            network = Simulator(inputs.parent, _calibration(self.parts, self.problem, seed))(allocation)
        assert isinstance(network, DetectionModel)
        readings = {PTQ: self._map(network)}
        if self.epochs:
            tuning = finetune_recipe(self.parts.tuning, n_classes=len(inputs.dataset.names))
            tuning = replace(tuning, epochs=self.epochs, seed=seed)
            tuned = fine_tuned(network, inputs.parent, inputs.dataset.train, recipe=tuning)
            readings[QAT] = self._map(tuned)
        return Result(job.number, job.candidate, Status.DONE, readings, 0.0)

    def _map(self, network: DetectionModel) -> float:
        val = load_images(self.problem.inputs.dataset.val, imgsz=self.parts.bases.imgsz)
        return coco_map(predict(network, val), val).map50_95


def quantization(
    *, data: str = EMBEDDED, seeds: str = "3", epochs: str = "0", workers: str = "1", out: str = "bench-quantization"
) -> Record:
    """Return by how much mAP50-95 mixed bits are above uniform ones of the same size, the least over sizes.

    Without training, which rows have beside it if there are any epochs.

    Args:
        data: digits, or bccd or coco128 where REAL_DATA leads to them.
        seeds: of the calibration images and of the training.
        epochs: of training on the bits; 0 leaves it out.
        workers: trainings at a time.
        out: the folder of the journal, from which a stopped benchmark goes on.
    """
    n_seeds, n_epochs = read_count("seeds", seeds, least=1), read_count("epochs", epochs, least=0)
    parts = parts_of(data)
    problem = prepare(parts)
    with one_thread():
        tried = [_seeded(parts, problem, seed) for seed in range(n_seeds)]
        settings = [each.settings() for each in tried]
    work = _Tried(parts, problem, len(settings[0]), n_epochs)
    by_seed = _results(work, settings, run_folder(out), workers=read_count("workers", workers, least=1))
    costs = {name: tried[0].table.costs(bits) for name, bits in settings[0].items()}
    rows = [{**_row(name, by_seed), **costs[name]} for name in settings[0]]
    gains = [np.mean([own[f"{MIXED}{bits}"][PTQ] - own[str(bits)][PTQ] for own in by_seed]) for bits in MATCHED]
    return Record(
        f"quantization_{data}",
        f"mean mAP50-95 of mixed bits above that of uniform bits of equal size, the least over sizes, {n_seeds} seeds",
        float(min(gains)),
        f"at least {TARGET}",
        bool(min(gains) >= TARGET),
        rows,
        environment(),
        command("quantization", data, f"seeds={n_seeds} epochs={n_epochs}"),
    )


def _results(
    work: _Tried, settings: Sequence[Mapping[str, Allocation]], folder: Path, *, workers: int
) -> list[dict[str, Mapping[str, float]]]:
    """Return by seed what came of each setting; what the journal in `folder` has is not done again."""
    names = list(settings[0])
    candidates = [Candidate(SAME, tuple(sorted(to_picks(own[name]).items()))) for own in settings for name in names]
    data = work.problem.inputs.dataset.fingerprint
    identity = {**work.parts.identity, "epochs": work.epochs, "settings": names, "data": data}
    folder.mkdir(parents=True, exist_ok=True)
    with Journal(folder / f"{data}.jsonl", identity) as journal:
        missing = [Job(number, own) for number, own in enumerate(candidates) if number not in journal.results]
        for result in measured(lambda: work, missing, workers=workers):
            journal.append_result(result)
        found = [journal.results[number] for number in range(len(candidates))]
    if failed := next((result for result in found if result.status is not Status.DONE), None):
        raise RuntimeError(f"{names[failed.number % len(names)]} failed: {failed.error}")
    return [
        dict(zip(names, (r.readings for r in found[start:]), strict=False))
        for start in range(0, len(found), len(names))
    ]


def _seeded(parts: Parts, problem: Problem, seed: int) -> _Seeded:
    images = _calibration(parts, problem, seed)
    simulator = Simulator(problem.inputs.parent, images)
    table = BitTable(problem.bases[SAME].graph, cross_bits(WEIGHTS, ACTIVATIONS))
    return _Seeded(table, fisher(simulator, table, images, seed=seed))


def _calibration(parts: Parts, problem: Problem, seed: int) -> torch.Tensor:
    images = calibration_images(
        problem.inputs.holdout, parts.making.calibration_images, seed=seed, imgsz=parts.bases.imgsz
    )
    return images.tensor()


def _row(name: str, by_seed: Sequence[Mapping[str, Mapping[str, float]]]) -> dict[str, Cell]:
    row: dict[str, Cell] = {"bits": name}
    for reading in (PTQ, QAT):
        if reading in by_seed[0][name]:
            found = np.array([own[name][reading] for own in by_seed])
            whole = np.mean([own[FLOAT][reading] for own in by_seed])
            row[reading] = float(found.mean())
            row[f"{reading}_sd"] = float(found.std(ddof=1)) if len(found) > 1 else 0.0
            row[f"{reading}_lost"] = float(whole - found.mean())
    return row
