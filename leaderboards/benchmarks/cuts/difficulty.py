"""Is the embedded set hard enough for a ranking to mean something?

The parent must neither be perfect nor poor, and the parent's architecture at a quarter of its MACs, uniformly thinned
and fine-tuned as the front is, must stay clearly below it.
"""

from dataclasses import replace

import numpy as np

from evaluators.accuracy.detection import coco_map, predict
from evaluators.data.images import load_images
from leaderboards.benchmarks.arguments import fine_tuned
from leaderboards.benchmarks.record import Cell, Record
from leaderboards.environment import environment
from leaderboards.recipes.reading import read_recipe
from leaderboards.runs.prepare import prepare
from leaderboards.runs.studies import make_supernets
from leaderboards.tuning.finetune import finetune_recipe

SHARE = 0.25
LOWEST, HIGHEST, LEAST_LOSS = 0.65, 0.90, 0.05


def difficulty() -> Record:
    """Return how much mAP50-95 the quarter-size network loses on the val split."""
    parts = read_recipe([]).parts()
    problem = prepare(parts)
    val = load_images(problem.inputs.dataset.val, imgsz=parts.bases.imgsz)
    parent = coco_map(predict(problem.inputs.parent, val), val).map50_95
    rows: list[dict[str, Cell]] = [{"network": "parent", "macs_kept": 1.0, "seed": 0, "map50_95": parent}]
    limit = SHARE * problem.parent_costs["macs_g"]
    build = make_supernets(parts.making, problem).same.builder("cpu")
    tuning = finetune_recipe(parts.tuning, n_classes=len(problem.inputs.dataset.names))
    for seed in range(2):
        candidate = problem.space.sample(np.random.default_rng(seed), limits={"macs_g": limit}, diversity=0.0)
        seeded = replace(tuning, seed=seed)
        start, train = build(candidate, parts.making.recovery), problem.inputs.dataset.train
        model = fine_tuned(start, problem.inputs.parent, train, recipe=seeded)
        kept = problem.space.costs(candidate)["macs_g"] / problem.parent_costs["macs_g"]
        quarter = coco_map(predict(model, val), val).map50_95
        rows.append({"network": "a quarter", "macs_kept": kept, "seed": seed, "map50_95": quarter})
    loss = parent - max(float(row["map50_95"]) for row in rows[1:])
    return Record(
        "difficulty",
        "mAP50-95 of the parent on the digits val split minus that of its better fine-tuned quarter",
        loss,
        f"at least {LEAST_LOSS}, with the parent from {LOWEST} to {HIGHEST}",
        loss >= LEAST_LOSS and LOWEST <= parent <= HIGHEST,
        rows,
        environment(),
        "python run_search.py bench difficulty --json",
    )
