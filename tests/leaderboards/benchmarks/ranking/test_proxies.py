from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from evaluators.proxies.by_name import FIXED
from evaluators.result import Result, Status
from leaderboards.benchmarks.ranking.final_accuracy import FinalAccuracy
from leaderboards.benchmarks.ranking.proxies import BLENDS, columns_of, cross_validated, measure_proxies
from leaderboards.benchmarks.running import run
from leaderboards.recipes.parts import Parts
from leaderboards.runs.problem import Problem
from leaderboards.runs.studies import make_supernets
from spaces.bases.names import SAME
from spaces.candidate import Candidate
from spaces.errors import BadInput

RNG = np.random.default_rng(0)


def make_result(index: int, quality: float) -> Result:
    names = (*FIXED, "macs_g", "params_m")
    readings = {name: 1 + abs(quality + 0.1 * float(RNG.normal())) for name in names}
    seconds = {f"{name}_seconds": 0.5 for name in FIXED}
    return Result(index, Candidate("same", (("g", index),)), Status.DONE, readings | seconds, 0.0)


def test_what_a_blend_says_of_a_candidate_does_not_depend_on_its_own_final() -> None:
    features = RNG.normal(size=(30, 3))
    final = features[:, 0] + RNG.normal(0, 0.1, 30)
    lied = final.copy()
    lied[7] += 100
    before, after = (cross_validated(features, values, n_anchors=100) for values in (final, lied))
    assert before[7] == after[7]
    assert np.corrcoef(before, final)[0, 1] > 0.9


def test_a_blend_learns_from_no_more_anchors_than_it_may() -> None:
    features, final = RNG.normal(size=(40, 2)), RNG.normal(size=40)
    few, many = (cross_validated(features, final, n_anchors=n) for n in (5, 100))
    assert (few != many).all()
    assert np.isnan(cross_validated(features, final, n_anchors=4)).all()


def test_a_candidate_without_a_score_is_neither_learned_from_nor_predicted() -> None:
    features, final = RNG.normal(size=(30, 2)), RNG.normal(size=30)
    features[3] = np.nan
    said = cross_validated(features, final, n_anchors=100)
    assert np.isnan(said).tolist() == [index == 3 for index in range(30)]


def test_every_proxy_and_blend_has_a_column_in_which_higher_is_better() -> None:
    quality = np.linspace(0, 1, 30)
    results = [make_result(index, float(value)) for index, value in enumerate(quality)]
    columns = {column.proxy: column for column in columns_of(results[:20], results, quality, blocks=quality[:, None])}
    assert set(columns) == {*FIXED, "macs_g", "params_m", *BLENDS}
    readings = [result.readings for result in results[:20]]
    assert columns["block_loss"].scores.tolist() == [-values["block_loss"] for values in readings]
    assert columns["macs_g"].scores.tolist() == [values["macs_g"] for values in readings]
    assert columns["zen"].seconds == 0.5
    assert columns["macs_g"].seconds == 0  # arithmetic
    assert columns["blend"].seconds == 3.0  # of six parts


@pytest.mark.slow
def test_every_proxy_is_measured_and_timed_once_and_a_broken_one_left_out(
    parts: Parts, problem: Problem, tmp_path: Path
) -> None:
    parts = replace(parts, place=replace(parts.place, workers=1))
    supernets = make_supernets(parts.making, problem)
    losses = tuple(np.full(len(each), np.nan) for each in supernets.same.study.losses)
    studied = replace(supernets.same, study=replace(supernets.same.study, losses=losses))
    supernets = replace(supernets, bases={SAME: studied})
    known = [FinalAccuracy(problem.space.sample(np.random.default_rng(0), limits={}), 0.6, (0.5,))]
    first = measure_proxies(parts, problem, supernets, known, tmp_path)
    assert first == measure_proxies(parts, problem, supernets, known, tmp_path)  # from the journal, seconds and all
    readings = first[known[0].candidate.id].readings
    assert set(FIXED) - set(readings) == {"block_loss"}
    assert all(readings[f"{name}_seconds"] > 0 for name in FIXED if name in readings)


def test_another_data_set_is_refused() -> None:
    with pytest.raises(BadInput, match="must be digits"):
        run(["proxies", "data=coco"])
