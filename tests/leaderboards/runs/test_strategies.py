from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch

from evaluators.budget import Budget
from evaluators.data.images import load_images
from evaluators.result import Job
from evaluators.worker import Studied, Supernets, make_measure
from leaderboards.recipes.parts import Parts
from leaderboards.recipes.recipe import Recipe
from leaderboards.runs.problem import Problem
from leaderboards.runs.strategies import objectives, strategy_of
from search.loop import rng_for
from search.strategies.evolution import NSGA2
from search.strategies.random_search import RandomSearch
from search.strategies.tpe import TPE
from search.strategies.uniform import UniformSearch
from spaces.bases.names import SAME
from spaces.candidate import Candidate
from spaces.recovery.recovery import Recovery
from tests.spaces.untrained import study_without_images


@pytest.fixture(scope="module")
def supernets(problem: Problem) -> Supernets:
    calibration = load_images(problem.inputs.dataset.train, imgsz=64)
    study = study_without_images(problem.inputs.parent, problem.graph)
    return Supernets(problem.inputs.parent, {SAME: Studied(problem.bases[SAME], calibration, study)}, Recovery.NOTHING)


@pytest.mark.parametrize(
    ("name", "kind"), [("evolution", NSGA2), ("tpe", TPE), ("random", RandomSearch), ("uniform", UniformSearch)]
)
def test_a_named_strategy_proposes_within_the_limits(
    parts: Parts, problem: Problem, supernets: Supernets, name: str, kind: type
) -> None:
    strategy = strategy_of(replace(parts.ranking, strategy=name), problem, supernets)
    assert isinstance(strategy, kind)
    for number in range(4):
        costs = problem.costs(strategy.ask(rng_for(0, number)))
        assert all(costs[key] <= limit for key, limit in problem.limits.items())


def test_uniform_widths_are_about_the_same_share_of_every_block(
    parts: Parts, problem: Problem, supernets: Supernets
) -> None:
    uniform = strategy_of(replace(parts.ranking, strategy="uniform"), problem, supernets)
    candidate = uniform.ask(rng_for(0, 0))
    genes = {gene.name: gene for gene in problem.space.genes}
    shares = problem.space.shares(candidate)
    usual = float(np.median(list(shares.values())))
    # rounded to 8 channels, up to two steps wider where the budget was filled up; 16 channels have two widths only
    off = [(share - usual) * genes[name].size / 8 for name, share in shares.items() if genes[name].size >= 32]
    assert min(off) > -1.01 and max(off) < 3.01


def test_the_control_is_measured_as_a_masked_parent(recipe: Recipe, problem: Problem, supernets: Supernets) -> None:
    ranking = recipe.model_copy(update={"strategy": "unstructured"}).parts().ranking
    control = strategy_of(ranking, problem, supernets)
    candidate = control.ask(rng_for(0, 0))
    assert candidate == Candidate(SAME, (("mask.weight", 30),))
    assert problem.costs(candidate) == problem.costs(problem.space.parent)
    before = torch.get_num_threads()
    measure = partial(make_measure, supernets, problem.inputs.dataset.train, device="cpu", proxy="loss")
    masked, parent = (measure(Budget({}))(Job(0, each)) for each in (candidate, problem.space.parent))
    torch.set_num_threads(before)
    assert masked.readings["loss"] != parent.readings["loss"]
    assert [metric.name for metric in objectives(ranking.proxy, problem)] == ["loss", "macs_g", "params_m"]
