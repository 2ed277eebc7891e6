"""Whole methods on the tiny detector, in this process: two or three rounds of one epoch of four images."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from evaluators.metric import TASK_LOSSES
from evaluators.result import Result
from leaderboards.recipes.parts import Parts
from leaderboards.recipes.recipe import Recipe
from leaderboards.runs.methods.rounds import Course, Outcome, check_method, run_method
from leaderboards.runs.methods.stages import stage_recipe
from leaderboards.runs.problem import Problem
from leaderboards.runs.studies import make_supernets
from leaderboards.tuning.finetune import finetune_recipe
from leaderboards.watcher import Watcher
from search.journal import Journal
from search.methods.by_name import METHODS
from spaces.detectors.detector import load_detector
from spaces.errors import BadInput
from spaces.space import Space

SHARE = 0.94  # of the MACs: some steps away, not many
pytestmark = pytest.mark.usefixtures("one_thread")


class Silent(Watcher):
    """A watcher that remembers how much it was told."""

    def __init__(self) -> None:
        self.stages: list[str] = []
        self.n_results = self.n_epochs = 0

    def stage(self, text: str, /) -> None:
        self.stages.append(text)

    def on_result(self, _: Result, /) -> None:
        self.n_results += 1

    def on_epoch(self, _: str, __: Mapping[str, float], /) -> None:
        self.n_epochs += 1


def asking(recipe: Recipe, folder: Path, strategy: str, **keys: object) -> Parts:
    """Return the parts of a run of a method in `folder`, with what the method has published."""
    own = METHODS[strategy]
    published = {"strategy": strategy, "importance": own.importance, "recovery": own.recovery}
    small = {"workers": 1, "front": 1, "finetune_epochs": 1, "out": str(folder)}
    return recipe.model_copy(update={**published, **small, **keys}).parts()


def coarse(problem: Problem) -> Problem:
    """Return the problem with few widths and a limit that they reach: every method is done after some candidates."""
    same = problem.bases["same"]
    space = Space(same.graph, align=32)
    limits = {"macs_g": SHARE * problem.parent_costs["macs_g"]}
    return replace(problem, bases={"same": replace(same, space=space)}, limits=limits)


def play(parts: Parts, problem: Problem) -> tuple[Outcome, Silent]:
    folder, method, watcher = parts.place.folder, METHODS[parts.ranking.strategy], Silent()
    folder.mkdir(exist_ok=True)
    check(parts, problem)
    supernets = make_supernets(parts.making, problem)
    rows = finetune_recipe(parts.tuning, n_classes=len(problem.inputs.dataset.names))
    training = stage_recipe(parts.rounds, rows)
    with Journal(folder / "journal.jsonl", {}) as journal:
        course = Course(method, parts.ranking, parts.rounds, parts.making, parts.place, training, journal, watcher)
        return run_method(course, problem, supernets), watcher


def check(parts: Parts, problem: Problem) -> None:
    check_method(parts.ranking.strategy, problem, n_rounds=parts.rounds.n)


def test_slimming_trains_once_and_ends_in_a_front_of_thresholds_within_the_limits(
    recipe: Recipe, problem: Problem, tmp_path: Path
) -> None:
    asked = asking(recipe, tmp_path / "run", "slimming", front=3)
    outcome, watcher = play(asked, problem)
    assert watcher.n_epochs == 1
    costs = [outcome.supernets.costs(result.candidate) for result in outcome.front]
    assert {result.candidate.base for result in outcome.front} == {"same+s1"}
    assert 1 <= len(costs) <= 3
    assert all(cost[name] <= limit for cost in costs for name, limit in problem.limits.items())
    assert [cost["macs_g"] for cost in costs] == sorted((cost["macs_g"] for cost in costs), reverse=True)
    trained, _ = load_detector(tmp_path / "run" / "bases" / "same+s1")
    before, after = problem.inputs.parent.state_dict(), trained.state_dict()
    assert not torch.equal(before["model.1.bn.weight"], after["model.1.bn.weight"])
    # the row is cut from the trained network: its channels are the trained ones' with the highest scales
    studied, candidate = outcome.supernets.of(outcome.front[0].candidate), outcome.front[0].candidate
    row = studied.builder("cpu")(candidate, asked.making.recovery).state_dict()["model.1.bn.weight"]
    assert torch.equal(row.sort().values, after["model.1.bn.weight"].abs().sort().values[-len(row) :])


def test_rounds_go_down_to_the_limits_and_a_second_call_does_nothing_again(
    recipe: Recipe, problem: Problem, tmp_path: Path
) -> None:
    asked, problem = asking(recipe, tmp_path / "run", "netadapt", rounds=2, align=32), coarse(problem)
    outcome, watcher = play(asked, problem)
    result = outcome.front[0]
    assert result.candidate.base == "same+s2"
    assert watcher.n_epochs == 1  # between the two rounds
    base = outcome.problem.bases["same+s2"]
    start = problem.parent_costs["macs_g"]
    # equal factors: after the first round at most the root of what is left in the end
    assert base.costs(base.space.parent)["macs_g"] <= start * SHARE**0.5
    assert base.costs(result.candidate)["macs_g"] <= SHARE * start
    again, silence = play(asked, problem)
    assert (silence.n_results, silence.n_epochs) == (0, 0)
    assert [each.candidate for each in again.front] == [each.candidate for each in outcome.front]


def test_pagcp_cuts_the_users_own_network_by_the_losses_of_its_tasks(
    recipe: Recipe, problem: Problem, tmp_path: Path
) -> None:
    outcome, watcher = play(asking(recipe, tmp_path / "run", "pagcp", align=32), coarse(problem))
    result = outcome.front[0]
    assert result.candidate.base == "same"
    assert watcher.n_epochs == 0
    assert result.readings["macs_g"] <= SHARE * problem.parent_costs["macs_g"]
    assert result.readings["loss"] == pytest.approx(sum(result.readings[part] for part in TASK_LOSSES))


def test_pruned_yolo_leaves_out_a_repeat_where_a_layer_has_several(
    recipe: Recipe, problem: Problem, tmp_path: Path
) -> None:
    # of yolov8n two layers have two repeats each: one of those four goes
    outcome, _ = play(asking(recipe, tmp_path / "run", "pruned_yolo", rounds=1), problem)
    assert [result.candidate.base for result in outcome.front] == ["same-1+s1"]


def test_what_a_method_cannot_serve_is_said_before_any_work(recipe: Recipe, problem: Problem, tmp_path: Path) -> None:
    asked = asking(recipe, tmp_path / "run", "slimming")
    with pytest.raises(BadInput, match="strategy=slimming needs a limit"):
        check(asked, replace(problem, limits={}))
    with pytest.raises(BadInput, match="latency_ms needs a device_file"):
        check(asked, replace(problem, limits={"latency_ms": 1.0}))
    bare = replace(problem.graph, scales=frozenset())
    bases = {"same": replace(problem.bases["same"], graph=bare)}
    with pytest.raises(BadInput, match="needs BatchNorm behind every channel"):
        check(asked, replace(problem, bases=bases))
    check(asking(recipe, tmp_path / "run", "pagcp"), replace(problem, bases=bases))  # needs none
