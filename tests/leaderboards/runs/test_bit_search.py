"""Bits as genes, from a recipe to the results of a small search, in this process."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from evaluators.metric import BOPS, LOSS, MACS, PARAMS, SIZE
from evaluators.result import Result, Status
from evaluators.worker import Supernets, make_measure
from leaderboards.recipes.parts import Parts
from leaderboards.recipes.reading import read_recipe
from leaderboards.runs.prepare import prepare
from leaderboards.runs.problem import Problem
from leaderboards.runs.profile import log10_size, profile, write_terminal
from leaderboards.runs.strategies import objectives, strategy_of
from leaderboards.runs.studies import STUDY, make_supernets
from search.executor import InProcess
from search.journal import Journal
from search.loop import rng_for, search
from spaces.bases.names import SAME
from spaces.bits.layer_bits import from_picks
from spaces.bits.quantized import allocation_of
from spaces.candidate import Candidate
from spaces.detectors.detector import save_detector
from spaces.errors import BadInput, OutOfReach
from spaces.networks.compute_dtype import ComputeDtype
from spaces.networks.threads import one_thread
from spaces.recovery.recovery import Recovery
from spaces.study import Study, save_study
from tests.evaluators.tiny import write_dataset
from tests.spaces.untrained import detector, study_without_images

WORDS = (
    "imgsz=64", "image_sizes=none", "gflops=70%", "size_mb=12%", "bits=4,8", "activation_bits=[6, 8]",
    "calibration_images=8", "search_images=2", "candidates=3", "recovery=adaptive_bn", "precision=bfloat16",
    "workers=1",
)  # fmt: skip


@pytest.fixture(scope="module")
def words(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    folder = tmp_path_factory.mktemp("bits")
    model = detector("yolov8n", n_classes=2)
    names = model.names
    model.names = {0: "cat", 1: "dog"}
    save_detector(model, folder / "weights", candidate=Candidate(SAME, ()))
    model.names = names
    return [f"weights={folder / 'weights'}", f"data={write_dataset(folder / 'data', n_train=12)}"]


@pytest.fixture(scope="module")
def parts(words: list[str]) -> Parts:
    return read_recipe([*words, *WORDS]).parts()


@pytest.fixture(scope="module")
def problem(parts: Parts) -> Problem:
    return prepare(parts)


@pytest.fixture(scope="module")
def study(problem: Problem) -> Study:
    """Return one whose losses are made up: to find them out would take most of this file's time."""
    table, rng = problem.bases[SAME].table, np.random.default_rng(0)
    assert table is not None
    bare = study_without_images(problem.inputs.parent, problem.graph)
    squares = tuple(np.linspace(0, rng.random(), block.size + 1) ** 2 for block in problem.graph.blocks)
    return replace(bare, losses=squares, bit_losses=rng.random((len(table.layers), 1)) / table.bits.sum(2))


@pytest.fixture(scope="module")
def supernets(parts: Parts, problem: Problem, study: Study, tmp_path_factory: pytest.TempPathFactory) -> Supernets:
    folder = tmp_path_factory.mktemp("run")
    save_study(study, folder / STUDY)
    return make_supernets(parts.making, problem, folder=folder)


def searched(parts: Parts, problem: Problem, supernets: Supernets, path: Path) -> list[Result]:
    with one_thread(), Journal(path, parts.identity) as journal:
        measure = make_measure(supernets, problem.inputs.holdout.search, problem.budget, device="cpu", proxy="loss")
        strategy = strategy_of(parts.ranking, problem, supernets)
        return search(
            strategy,
            InProcess(measure),
            journal,
            n_candidates=parts.ranking.candidates,
            seed=0,
            on_result=lambda _: None,
        )


def test_a_search_gives_every_layer_bits_and_meets_its_limits(
    parts: Parts, problem: Problem, supernets: Supernets, tmp_path: Path
) -> None:
    results = searched(parts, problem, supernets, tmp_path / "journal.jsonl")
    table = problem.bases[SAME].table
    assert table is not None
    for result in results:
        assert result.status is Status.DONE, result.error
        allocation = from_picks(result.candidate.picks)
        assert set(allocation) == set(table.layers)
        assert {bits.weight for bits in allocation.values()} <= {4, 8}
        assert {bits.activation for bits in allocation.values()} <= {6, 8}
        assert set(result.readings) == {"macs_g", "params_m", "size_mb", "bops_g", "map50_95", "map50", "loss"}
        assert all(result.readings[name] <= limit for name, limit in problem.limits.items())
        costs = table.costs(allocation, keep=problem.space.decode(result.candidate))
        assert costs == {name: result.readings[name] for name in costs}
    again = searched(parts, problem, supernets, tmp_path / "journal.jsonl")
    assert again == results


def test_strategies_that_know_nothing_propose_bits_within_the_limits_too(
    parts: Parts, problem: Problem, supernets: Supernets
) -> None:
    for name in ("evolution", "random", "uniform"):
        strategy = strategy_of(replace(parts.ranking, strategy=name), problem, supernets)
        for number in range(3):
            candidate = strategy.ask(rng_for(0, number))
            costs = problem.costs(candidate)
            assert from_picks(candidate.picks)
            assert all(costs[key] <= limit for key, limit in problem.limits.items())


def test_a_candidate_of_bits_is_built_with_them_and_ranked_in_float32(problem: Problem, supernets: Supernets) -> None:
    assert supernets.precision is ComputeDtype.BFLOAT16
    builder = supernets.builder(SAME, "cpu")
    assert builder.precision is ComputeDtype.FLOAT32
    table = problem.bases[SAME].table
    assert table is not None
    allocation = table.uniform(table.options[0])
    picks = {f"{name}.weight_bits": bits.weight for name, bits in allocation.items()}
    picks |= {f"{name}.activation_bits": bits.activation for name, bits in allocation.items()}
    network = builder(Candidate(SAME, tuple(sorted(picks.items()))), Recovery.NOTHING)
    assert allocation_of(network) == allocation
    floats = {
        name: replace(studied, base=replace(studied.base, table=None)) for name, studied in supernets.bases.items()
    }
    assert replace(supernets, bases=floats).builder(SAME, "cpu").precision is ComputeDtype.BFLOAT16


def test_the_losses_of_bits_are_read_from_the_run_folder(supernets: Supernets, study: Study) -> None:
    found = supernets.same.study.bit_losses
    assert found is not None
    assert study.bit_losses is not None
    assert np.array_equal(found, study.bit_losses)


def test_percentages_are_of_the_float_parent(problem: Problem) -> None:
    assert problem.limits["size_mb"] == pytest.approx(0.12 * problem.space.costs(problem.space.parent)["size_mb"])
    assert problem.parent_costs["bops_g"] == 1024 * problem.parent_costs["macs_g"]
    assert problem.reach()["size_mb"][0] < problem.space.reach()["size_mb"][0] / 2  # nodes and scales are the rest


def test_a_size_that_no_bits_reach_is_refused(words: list[str]) -> None:
    small = [*words, "imgsz=64", "bits=8", "calibration_images=8", "search_images=2"]
    with pytest.raises(OutOfReach, match=r"size_mb=0\.5% is out of reach"):
        prepare(read_recipe([*small, "size_mb=0.5%"]).parts())
    with pytest.raises(OutOfReach, match=r"bops_g=0\.1% is out of reach"):
        prepare(read_recipe([*small, "bops_g=0.1%"]).parts())


def test_too_few_images_for_ranges_are_refused_before_anything_is_made(words: list[str]) -> None:
    with pytest.raises(BadInput, match="bits: ranges need at least 8 calibration images, there are 4"):
        prepare(read_recipe([*words, "imgsz=64", "bits=8", "calibration_images=4"]).parts())


def test_the_objectives_ask_for_few_bits_even_if_no_limit_does(parts: Parts, problem: Problem) -> None:
    for limits, costs in (
        (["macs_g", "size_mb"], (MACS, SIZE)),
        (["bops_g"], (BOPS,)),
        (["params_m"], (PARAMS, SIZE)),
        ([], (MACS, SIZE)),
    ):
        asked = replace(problem, limits=dict.fromkeys(limits, 1.0))
        assert objectives(parts.ranking.proxy, asked) == (LOSS, *costs)


def test_the_profile_tells_which_bits_there_are(problem: Problem) -> None:
    facts = json.loads(json.dumps(profile(problem), allow_nan=False))
    table = problem.bases[SAME].table
    assert table is not None
    assert facts["bits"] == {"n_layers": len(table.layers), "options": ["W4A6", "W4A8", "W8A6", "W8A8"]}
    assert facts["reach"]["bops_g"][1] == pytest.approx(facts["parent"]["bops_g"])
    # two options for each layer but the protected ones: W8A6 reads as W8A8 there
    assert log10_size(problem) > problem.space.log10_size() + 0.6 * (len(table.layers) - 10)
    console = Console(width=160)
    with console.capture() as capture:
        write_terminal(problem, console)
    assert f"{len(table.layers)} layers may have bits: W4A6, W4A8, W8A6, W8A8" in capture.get()
    assert " bops_g " in capture.get()
