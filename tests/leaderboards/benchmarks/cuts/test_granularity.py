from dataclasses import replace

import pytest

from evaluators.data.images import load_images
from leaderboards.benchmarks.cuts.granularity import RECONSTRUCTED, Bench, gain_of
from leaderboards.benchmarks.running import run
from leaderboards.recipes.parts import Parts
from leaderboards.runs.problem import Problem
from leaderboards.runs.studies import make_supernets
from leaderboards.tuning.finetune import FinetuneRecipe
from spaces.cutting.mask import Granularity
from spaces.errors import BadInput
from spaces.importance.by_name import Importance
from spaces.networks.threads import one_thread


@pytest.mark.slow
def test_all_networks_lose_the_same_share_and_masked_ones_keep_their_size(parts: Parts, problem: Problem) -> None:
    with one_thread():
        supernets = make_supernets(replace(parts.making, importance=Importance.L1), problem)
        val = load_images(problem.inputs.dataset.val, imgsz=64)
        tuning = FinetuneRecipe(epochs=0, imgsz=64, flip=0.0)
        bench = Bench(problem, supernets, supernets.same.builder("cpu"), val, tuning)
        rows = {row["what"]: row for row in (bench.parent(), *bench.rows(0.5, [Granularity.WEIGHT, Granularity.N_M]))}
    assert list(rows) == ["parent", "weight", "n_m", "channels cut", RECONSTRUCTED]
    whole = float(rows["parent"]["params_left_m"])
    for what in ("weight", "n_m", RECONSTRUCTED):
        assert float(rows[what]["params_left_m"]) == pytest.approx(whole / 2, rel=0.02)  # biases and the head stay
    for what in ("weight", "n_m"):
        assert float(rows[what]["size_mb"]) == pytest.approx(float(rows["parent"]["size_mb"]), rel=1e-3)
        assert float(rows[what]["stored_mb"]) < 0.65 * float(rows[what]["size_mb"])
    assert float(rows[RECONSTRUCTED]["size_mb"]) < 0.6 * float(rows["parent"]["size_mb"])
    assert float(rows[RECONSTRUCTED]["zeros"]) < 0.01


def test_the_gain_is_that_of_the_reconstructed_network_over_masked_weights() -> None:
    rows: list[dict[str, str | float | bool]] = [
        {"what": "parent", "percent": 0, "map_tuned": 0.9},
        {"what": "weight", "percent": 30, "map_tuned": 0.7},
        {"what": RECONSTRUCTED, "percent": 30, "map_tuned": 0.75},
        {"what": "weight", "percent": 50, "map_tuned": 0.6},
        {"what": RECONSTRUCTED, "percent": 50, "map_tuned": 0.5},
    ]
    assert gain_of(rows, 30) == pytest.approx(0.05)
    assert gain_of(rows, 50) == pytest.approx(-0.1)


def test_nothing_left_is_refused() -> None:
    with pytest.raises(BadInput, match="percents must be below 100"):
        run(["granularity", "percents=100"])
