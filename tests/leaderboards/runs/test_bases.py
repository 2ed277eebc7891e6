from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch

from evaluators.budget import Budget
from evaluators.result import Job, Status
from evaluators.worker import make_measure
from leaderboards.recipes.parts import Bases, Parts
from leaderboards.recipes.recipe import Recipe
from leaderboards.runs.bases import (
    BasePlan,
    calibration_images,
    check_sizes,
    plan_bases,
    provisional,
    sizes_below,
    smaller_sizes,
)
from leaderboards.runs.prepare import analyse
from leaderboards.runs.problem import Problem
from leaderboards.runs.studies import make_supernets
from spaces.activations.covariance import count_places
from spaces.bases.depth import kernel_gamma_order
from spaces.bases.names import DepthImportance
from spaces.errors import BadInput, OutOfReach
from spaces.recovery.recovery import Recovery
from spaces.union import Union
from tests.spaces.detectors.files import random_network


@pytest.fixture(scope="module")
def wide(recipe: Recipe) -> Parts:
    """Return the parts of the recipe with one repeat to leave out and a second image size."""
    cheap = {"recovery": Recovery.ADAPTIVE_BN, "proxy": "block_loss", "calibration_images": 4}
    return recipe.model_copy(update={"depth": 1, "image_sizes": (32,), **cheap}).parts()


@pytest.fixture(scope="module")
def spread(wide: Parts, problem: Problem) -> Problem:
    return analyse(wide, problem.inputs)


def planned(parts: Parts, problem: Problem, bases: Bases) -> list[BasePlan]:
    """Return the plans of `bases`, on the calibration images of the run that `parts` describe."""
    n, seed, holdout = parts.making.calibration_images, parts.making.seed, problem.inputs.holdout
    images = partial(calibration_images, holdout, n, seed=seed, imgsz=bases.imgsz)
    return plan_bases(bases, problem.inputs.parent, images=images)


def test_bases_are_all_combinations_and_the_users_own_comes_first(wide: Parts, problem: Problem) -> None:
    plans = planned(wide, problem, wide.bases)
    assert [str(plan.name) for plan in plans] == ["same", "same-1", "same@32", "same-1@32"]
    assert [len(plan.dropped) for plan in plans] == [0, 1, 0, 1]
    assert plans[1].dropped == plans[3].dropped
    networks = list(provisional(plans, problem.inputs.parent))
    assert networks[0] is networks[2] is problem.inputs.parent
    counts = [sum(weight.numel() for weight in network.parameters()) for network in networks]
    assert counts[0] > counts[1] == counts[3]


def test_the_repeats_of_the_users_network_go_by_the_importance_that_is_asked_for(wide: Parts, problem: Problem) -> None:
    deep = replace(wide.bases, depth=10, image_sizes=(), depth_importance=DepthImportance.KERNEL_GAMMA)
    plans = planned(wide, problem, deep)
    assert plans[-1].dropped == kernel_gamma_order(problem.inputs.parent)


def test_the_size_of_the_run_and_one_given_twice_make_no_second_base(wide: Parts, problem: Problem) -> None:
    sizes = replace(wide.bases, depth=0, image_sizes=(wide.bases.imgsz, 32, 32))
    plans = planned(wide, problem, sizes)
    assert [str(plan.name) for plan in plans] == ["same", "same@32"]


def test_a_parent_that_is_not_searched_is_there_all_the_same(parts: Parts, problem: Problem) -> None:
    plans = planned(parts, problem, replace(parts.bases, backbones=("ghostnet",)))
    assert [str(plan.name) for plan in plans] == ["same", "ghostnet"]


def test_more_repeats_than_there_are_cannot_be_left_out(parts: Parts, problem: Problem) -> None:
    with pytest.raises(BadInput, match="depth=11: only 10 repeats"):  # of yolov8n
        planned(parts, problem, replace(parts.bases, depth=11))


def test_a_limit_is_in_reach_if_any_base_reaches_it(spread: Problem, problem: Problem, wide: Parts) -> None:
    low, high = problem.reach()["macs_g"]
    assert spread.reach()["macs_g"][0] == pytest.approx(
        min(base.space.reach()["macs_g"][0] for base in spread.bases.values())
    )
    assert spread.reach()["macs_g"][0] < low
    assert spread.reach()["macs_g"][1] == high
    tight = replace(wide, limits={"gflops": f"{98 * low / high}%"})
    assert analyse(tight, problem.inputs).limits["macs_g"] < low
    with pytest.raises(OutOfReach, match="gflops"):
        analyse(replace(tight, bases=replace(wide.bases, depth=0, image_sizes=())), problem.inputs)


def test_a_candidate_of_any_base_is_built_and_measured(wide: Parts, spread: Problem) -> None:
    supernets = make_supernets(wide.making, spread)
    assert set(supernets.bases) == set(spread.bases)
    measure = make_measure(supernets, spread.inputs.holdout.search, Budget(spread.limits), device="cpu")
    spaces = {name: base.space for name, base in spread.bases.items()}
    threads = torch.get_num_threads()
    for name, space in spaces.items():
        drawn = Union({name: space}).sample(np.random.default_rng(0), limits=spread.limits)
        result = measure(Job(0, drawn))
        assert (result.status, result.candidate.base) == (Status.DONE, name)
        assert result.readings["macs_g"] == pytest.approx(space.costs(drawn)["macs_g"])
        assert 0 <= result.readings["map50_95"] <= 1
    torch.set_num_threads(threads)


@pytest.mark.parametrize(
    ("imgsz", "share", "sizes"),
    [
        (640, 0.5, [576, 512, 448]),
        (320, 0.7, [288, 256]),
        (160, 0.5, [128, 96]),
        (64, 0.01, [32]),
        (32, 0.5, []),
        (640, 1.0, []),
    ],
)
def test_smaller_sizes_lead_to_that_with_which_the_whole_network_is_within_the_limit(
    problem: Problem, imgsz: int, share: float, sizes: list[int]
) -> None:
    assert smaller_sizes(problem.inputs.parent, imgsz, share=share) == sizes


@pytest.mark.parametrize(
    ("name", "imgsz", "said"),
    [
        ("yolov5-p6", 160, r"multiple of 64, the stride of the network \(160 is not; 128 or 192 is\)"),
        ("yolov5-p6", 32, r"multiple of 64, the stride of the network \(32 is not; 64 is\)"),
        ("yolov5", 80, r"multiple of 32, the stride of the network \(80 is not; 64 or 96 is\)"),
    ],
)
def test_a_size_that_a_network_cannot_be_fed_is_told_with_the_nearest(name: str, imgsz: int, said: str) -> None:
    with pytest.raises(BadInput, match=said):
        check_sizes(random_network(name), [imgsz])
    check_sizes(random_network(name), [64, 128])


def test_smaller_sizes_are_multiples_of_the_networks_stride() -> None:
    network = random_network("yolov5-p6")
    assert list(sizes_below(network, 320)) == [256, 192, 128, 64]
    assert smaller_sizes(network, 640, share=0.5) == [576, 512, 448]
    assert smaller_sizes(network, 320, share=0.5) == [256, 192]


def test_a_limit_on_work_adds_smaller_images_that_share_the_study_of_the_first(
    recipe: Recipe, problem: Problem
) -> None:
    sized = recipe.model_copy(update={"image_sizes": None, "calibration_images": 4}).parts()
    both = analyse(sized, problem.inputs)
    assert list(both.bases) == ["same", "same@32"]
    supernets = make_supernets(sized.making, both)
    same, smaller = (supernets.bases[name].study for name in both.bases)
    assert smaller.scores is same.scores and smaller.losses is same.losses
    n_images = len(supernets.same.calibration)
    for name, places in smaller.places.items():
        assert places.max() < n_images * count_places(problem.inputs.parent, [name], imgsz=32)[name]
    network = supernets.bases["same@32"].builder("cpu")(
        both.bases["same@32"].space.sample(np.random.default_rng(0), limits=both.limits), Recovery.RECONSTRUCT
    )
    assert all(bool(tensor.isfinite().all()) for tensor in network.state_dict().values())
