from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from evaluators.proxies.by_name import PROXIES
from evaluators.result import Result, Status
from leaderboards.benchmarks import run
from leaderboards.benchmarks.ranking.proxies import BLENDS, columns_of, cross_validated, measure_proxies
from leaderboards.benchmarks.ranking.truth import Truth
from leaderboards.recipes.recipe import Recipe
from leaderboards.runs.problem import Problem
from leaderboards.runs.studies import make_workshop
from spaces.bases.base import SAME
from spaces.candidate import Candidate
from spaces.errors import BadInput

RNG = np.random.default_rng(0)


def make_result(index: int, quality: float) -> Result:
    names = (*PROXIES, "macs_g", "params_m")
    readings = {name: 1 + abs(quality + 0.1 * float(RNG.normal())) for name in names}
    seconds = {f"{name}_seconds": 0.5 for name in PROXIES}
    return Result(index, Candidate("same", (("g", index),)), Status.DONE, readings | seconds, 0.0)


def test_what_a_blend_says_of_a_candidate_does_not_depend_on_its_own_truth() -> None:
    features = RNG.normal(size=(30, 3))
    truth = features[:, 0] + RNG.normal(0, 0.1, 30)
    lied = truth.copy()
    lied[7] += 100
    before, after = (cross_validated(features, values, n_anchors=100) for values in (truth, lied))
    assert before[7] == after[7]
    assert np.corrcoef(before, truth)[0, 1] > 0.9


def test_a_blend_learns_from_no_more_anchors_than_it_may() -> None:
    features, truth = RNG.normal(size=(40, 2)), RNG.normal(size=40)
    few, many = (cross_validated(features, truth, n_anchors=n) for n in (5, 100))
    assert (few != many).all()
    assert np.isnan(cross_validated(features, truth, n_anchors=4)).all()


def test_a_candidate_without_a_score_is_neither_learned_from_nor_predicted() -> None:
    features, truth = RNG.normal(size=(30, 2)), RNG.normal(size=30)
    features[3] = np.nan
    said = cross_validated(features, truth, n_anchors=100)
    assert np.isnan(said).tolist() == [index == 3 for index in range(30)]


def test_every_proxy_and_blend_has_a_column_in_which_higher_is_better() -> None:
    quality = np.linspace(0, 1, 30)
    results = [make_result(index, float(value)) for index, value in enumerate(quality)]
    columns = {column.proxy: column for column in columns_of(results[:20], results, quality, blocks=quality[:, None])}
    assert set(columns) == {*PROXIES, "macs_g", "params_m", *BLENDS}
    readings = [result.readings for result in results[:20]]
    assert columns["block_loss"].scores.tolist() == [-values["block_loss"] for values in readings]
    assert columns["macs_g"].scores.tolist() == [values["macs_g"] for values in readings]
    assert columns["zen"].seconds == 0.5
    assert columns["macs_g"].seconds == 0  # arithmetic
    assert columns["blend"].seconds == 3.0  # of six parts


def test_every_proxy_is_measured_and_timed_once_and_a_broken_one_left_out(
    recipe: Recipe, problem: Problem, tmp_path: Path
) -> None:
    recipe = recipe.model_copy(update={"workers": 1})
    workshop = make_workshop(recipe, problem)
    losses = tuple(np.full(len(each), np.nan) for each in workshop.same.study.losses)
    studied = replace(workshop.same, study=replace(workshop.same.study, losses=losses))
    workshop = replace(workshop, bases={SAME: studied})
    known = [Truth(problem.space.sample(np.random.default_rng(0), limits={}), 0.6, (0.5,))]
    first = measure_proxies(recipe, problem, workshop, known, tmp_path)
    assert first == measure_proxies(recipe, problem, workshop, known, tmp_path)  # from the journal, seconds and all
    readings = first[known[0].candidate.id].readings
    assert set(PROXIES) - set(readings) == {"block_loss"}
    assert all(readings[f"{name}_seconds"] > 0 for name in PROXIES if name in readings)


def test_another_data_set_is_refused() -> None:
    with pytest.raises(BadInput, match="must be digits"):
        run(["proxies", "data=coco"])
